"""A circuit breaker: a server or program that keeps failing is left alone for a while, and then tried once.

Closed until `failures` calls in a row have failed; then open for `cooldown_s`, doubled at each further failure up to
`max_cooldown_s`; then half-open: one call may pass, and its outcome closes or opens it again. What no retry helps (a
key that is refused, a name that is unknown) opens it at once. It never stays open: what was refused once may be granted
an hour later. One breaker a server or program.
"""

from typing import NoReturn

from swarm.clock import Clock
from swarm.records import Usage
from workers.proposers import ProposalFailed


class Breaker:
    def __init__(
        self, clock: Clock, *, failures: int = 4, cooldown_s: float = 60.0, max_cooldown_s: float = 1800.0
    ) -> None:
        self._clock = clock
        self._limit = failures
        self._first_cooldown_s = cooldown_s
        self._max_cooldown_s = max_cooldown_s
        self._failures = 0
        self._open_until: float | None = None
        self._refusal: tuple[str, str] | None = None  # code and detail of the last call, if that was refused

    def check(self, who: str) -> None:
        """Raises ProposalFailed while no call may pass, with the words of the refusal if there was one."""
        if (remaining_s := self.remaining_s) > 0:
            code, detail = self._refusal or ("llm_failed", f"{who} keeps failing and is left alone")
            raise ProposalFailed(code, detail, cooldown_s=remaining_s)

    def refused(self, code: str, detail: str, usage: Usage | None = None) -> NoReturn:
        """Opens at once. Raises ProposalFailed now, and at each check until it closes."""
        self._failures = max(self._failures, self._limit - 1)
        self.failed()
        self._refusal = (code, detail)
        raise ProposalFailed(code, detail, usage=usage, cooldown_s=self.remaining_s)

    @property
    def remaining_s(self) -> float:
        """Seconds until a call may pass; 0 when closed or half-open."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - self._clock.monotonic())

    def succeeded(self) -> None:
        self._failures = 0
        self._open_until = self._refusal = None

    def failed(self) -> None:
        self._failures += 1
        self._refusal = None
        beyond = self._failures - self._limit
        if beyond >= 0:
            doubled = self._first_cooldown_s * 2.0 ** min(beyond, 30)
            self._open_until = self._clock.monotonic() + min(doubled, self._max_cooldown_s)
