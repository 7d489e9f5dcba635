"""One try to tell somebody, bounded in time whatever the other side does. What went wrong is told without the address.

Not promised: that a redirect is followed. It could lead anywhere, so it counts as a failure.
"""

import contextlib
import json
import os
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Protocol

from swarm.errors import Escaped, contained
from swarm.notify.address import Address
from swarm.notify.forms import event, message
from swarm.notify.notices import Notice

CONNECT_S = 8.0
TRY_S = 12.0
COMMAND_S = 30.0
USER_AGENT = "swarm-research"


class Sink(Protocol):
    """A place where notices go. `name` may be written; None says that it was taken, a text why not."""

    @property
    def name(self) -> str: ...
    def deliver(self, notice: Notice) -> str | None: ...


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


@dataclass(frozen=True)
class Webhook:
    """A POST with JSON."""

    address: Address

    @property
    def name(self) -> str:
        return self.address.name

    def deliver(self, notice: Notice) -> str | None:
        answer: list[str | None] = []
        thread = threading.Thread(target=lambda: answer.append(self._post(notice)), daemon=True)
        thread.start()
        thread.join(TRY_S)  # a server that trickles, or a name that nobody resolves, outlives every socket's timeout
        return answer[0] if answer else f"no answer within {TRY_S:g} s"

    def _post(self, notice: Notice) -> str | None:
        answer = contained(lambda: self._posted(notice))
        return f"{type(answer.error).__name__}" if isinstance(answer, Escaped) else answer

    def _posted(self, notice: Notice) -> str | None:
        """The words of an error may repeat the address, so only its kind is passed on."""
        sent = message(self.address, notice)
        headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT}
        if self.address.authorization is not None:
            headers["Authorization"] = self.address.authorization
        request = urllib.request.Request(sent.url, data=sent.body, headers=headers, method="POST")
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            with opener.open(request, timeout=CONNECT_S):
                return None
        except urllib.error.HTTPError as refused:
            refused.close()
            return f"it answered {refused.code}"
        except urllib.error.URLError as problem:
            kind = problem.reason if isinstance(problem.reason, OSError) else problem
            return f"it cannot be reached ({type(kind).__name__})"


@dataclass(frozen=True)
class Command:
    """A shell command of the person's own; the event is on its standard input, and never in its text."""

    command: str

    @property
    def name(self) -> str:
        return "the command of --on-event"

    def deliver(self, notice: Notice) -> str | None:
        facts = {"SWARM_EVENT": notice.kind, "SWARM_EVENT_TITLE": notice.title, "SWARM_EVENT_TEXT": notice.text}
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", self.command],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **facts},
                start_new_session=True,
            )
        except OSError as problem:
            return f"it cannot be started: {problem.strerror}"
        return _ended(process, json.dumps(event(notice)).encode())


def _ended(process: "subprocess.Popen[bytes]", given: bytes) -> str | None:
    try:
        process.communicate(given, timeout=COMMAND_S)
    except subprocess.TimeoutExpired:
        return f"it had not ended after {COMMAND_S:g} s, and was killed"
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return None if process.returncode == 0 else f"it ended with exit code {process.returncode}"
