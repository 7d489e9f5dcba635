"""One request to a Chat Completions server, with a deadline that holds, and every failure put into one of a few kinds.

The SDK's own retries are off: one layer retries (`proposer`), on the injected clock. A server that trickles bytes never
meets a read timeout, so a timer shuts the sockets down at the deadline; `body` cuts off what is too large. Redirects
are not followed: the key goes to the configured server only.
"""

import contextlib
import functools
import json
import re
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

from swarm.clock import Clock
from swarm.errors import Escaped, contained
from workers.proposers.foreign_json import read_foreign_json
from workers.proposers.openai_api.body import limit_body
from workers.proposers.openai_api.completion import BadAnswer, Completion, Counts, error_message, read_completion
from workers.redact import Redactor

if TYPE_CHECKING:
    import httpx2

CONNECT_TIMEOUT_S = 5.0

Kind = Literal[
    "auth",  # 401, 403: the key is refused; no retry helps at once
    "config",  # 404, a redirect, a library that is not installed: address, model or set-up are wrong
    "rejected",  # 400, 413, 422: this request is wrong, another one may be right
    "too_long",  # the same, and it says that the model's context is too short for it
    "quota",  # 402, or 429 that speaks of quota or billing: no money
    "busy",  # 408, 409, 429: come back later, `retry_after_s` if the server says when
    "down",  # no connection, deadline passed, 5xx, or an answer that is none
    "declined",  # the model refused or was cut off before its first word
]

Message = Mapping[str, str]


class CallFailed(Exception):
    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        retry_after_s: float | None = None,
        counts: Counts | None = None,
        about_format: bool = False,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.counts = counts or Counts()
        self.about_format = about_format  # it blames response_format: a 400, from llama-cpp-python a 500


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask. `key` None is sent as a dummy: local servers want some key and ignore it.

    Whatever comes back is redacted before anything is cut out of it: a cut could halve a key and hide it.
    """

    base_url: str | None
    key: str | None
    model: str
    clock: Clock
    redact: Redactor
    headers: Mapping[str, str] = field(default_factory=dict)
    max_output_tokens: int | None = None  # sent as max_tokens, which OpenAI's own newer models refuse

    def complete(
        self, messages: Sequence[Message], *, deadline_s: float, schema: Mapping[str, object] | None = None
    ) -> Completion:
        """Raises CallFailed. Takes at most `deadline_s` seconds, plus one attempt to resolve the server's name."""
        with _Deadline(deadline_s) as deadline:
            answer = contained(lambda: self._complete(messages, deadline, schema), passing=(CallFailed,))
        if not isinstance(answer, Escaped):
            return answer
        kind: Kind = "config" if isinstance(answer.error, ImportError) else "down"
        raise CallFailed(kind, self.redact(deadline.explain(answer.error))[:400]) from answer.error

    def _complete(
        self, messages: Sequence[Message], deadline: "_Deadline", schema: Mapping[str, object] | None
    ) -> Completion:
        """Raises CallFailed for what the server said, and whatever the libraries raise for what it did not."""
        import httpx2
        import openai

        with deadline.http_client() as http:
            client = openai.OpenAI(
                base_url=self.base_url,
                api_key=self.key or "not-needed",
                max_retries=0,
                default_headers=self.headers,
                timeout=httpx2.Timeout(deadline.seconds, connect=min(CONNECT_TIMEOUT_S, deadline.seconds)),
                http_client=http,
            )
            try:
                raw = client.chat.completions.with_raw_response.create(**self._parameters(messages, schema))
                completion = read_completion(self.redact(raw.text))
            except BadAnswer as error:
                raise self._bad_answer(error) from error
            except openai.APIStatusError as error:
                header = error.response.headers.get("retry-after")
                raise self._refused(error.response.status_code, error.response.text, header) from error
        # What JSON had escaped is only now as the model wrote it.
        return replace(completion, text=self.redact(completion.text))

    def _parameters(self, messages: Sequence[Message], schema: Mapping[str, object] | None) -> dict[str, Any]:
        """Few parameters: compatible servers answer 400 to those that they do not know."""
        parameters: dict[str, Any] = {"model": self.model, "messages": list(messages)}
        if self.max_output_tokens is not None:
            parameters["max_tokens"] = self.max_output_tokens
        if schema is not None:
            parameters["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "proposal", "strict": True, "schema": schema},
            }
        return parameters

    def _bad_answer(self, error: BadAnswer) -> CallFailed:
        detail = self.redact(str(error))
        if error.status is not None:
            return CallFailed(_kind(error.status, detail), detail, counts=error.counts)
        return CallFailed("down" if error.server_fault else "declined", detail, counts=error.counts)

    def _refused(self, status: int, text: str, retry_after: str | None) -> CallFailed:
        body = _document(self.redact(text))
        words = self.redact(error_message(body))
        retry_after_s = _retry_after_s(retry_after, body, self.clock.now())
        detail = f"HTTP {status}{f': {words}' if words else ''}"
        about_format = (
            status in (400, 422, 500, 501) and re.search(r"(?i)response_format|json_?schema|grammar", words) is not None
        )
        return CallFailed(_kind(status, words), detail, retry_after_s=retry_after_s, about_format=about_format)


def _kind(status: int, words: str) -> Kind:
    if status in (401, 403):
        return "auth"
    if status == 402 or (status == 429 and re.search(r"(?i)insufficient_quota|billing|credit balance", words)):
        return "quota"
    if status in (400, 413, 422, 500) and re.search(r"(?i)context[ _](length|window|size)|prompt is too long", words):
        return "too_long"
    if status in (408, 409, 425, 429):
        return "busy"
    if status >= 500:
        return "down"
    return "rejected" if status in (400, 413, 422) else "config"


def _document(text: str) -> object:
    try:
        return read_foreign_json(text)
    except ValueError:
        return text


def _retry_after_s(header: str | None, body: object, now: float) -> float | None:
    """Seconds, from the header (a number or a date) or from Gemini's `retryDelay`; None if neither can be read."""
    if header:
        try:
            return max(0.0, float(header)) if re.fullmatch(r"\s*\d{1,9}(\.\d*)?\s*", header) else _until(header, now)
        except (ValueError, TypeError, OverflowError):
            pass
    delay = re.search(r'"retryDelay":\s*"(\d{1,6}(?:\.\d+)?)s"', json.dumps(body, default=str))
    return float(delay[1]) if delay else None


def _until(date: str, now: float) -> float:
    return max(0.0, parsedate_to_datetime(date).timestamp() - now)


class _Deadline:
    """Shuts down every socket of its HTTP client when the time is over."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._expired = False

    def __enter__(self) -> "_Deadline":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def http_client(self) -> "httpx2.Client":
        import httpx2

        hooks: dict[str, list[Any]] = {"request": [self._watch], "response": [limit_body]}
        return httpx2.Client(event_hooks=hooks, headers={"accept-encoding": "identity"}, verify=_tls())

    def explain(self, error: BaseException) -> str:
        if self._expired:
            return f"no complete answer within {self.seconds:.3g} s"
        return Escaped(error.__cause__ or error).text

    def _watch(self, request: "httpx2.Request") -> None:
        request.extensions["trace"] = self._trace

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            connection = info["return_value"].get_extra_info("socket")
            with self._lock:
                self._sockets.append(connection)
                if self._expired:
                    _shut_down(connection)

    def _expire(self) -> None:
        with self._lock:
            self._expired = True
            for connection in self._sockets:
                _shut_down(connection)


@functools.cache
def _tls() -> ssl.SSLContext:
    """One for all calls: loading the certificates takes longer than a small call."""
    import httpx2

    return httpx2.create_ssl_context()


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already
        # The plain socket's method: the TLS one would unwrap first, from the wrong thread.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
