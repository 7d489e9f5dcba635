"""What a long command writes to: a terminal or pipe that may go away before the command ends.

Nobody stays connected to a pod for a night. The hangup of its terminal does not end a study, nor does a write that
fails; the brain has everything that would have been shown, and `swarm stop` ends it.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import IO, Any, cast

from rich.console import Console


@contextlib.contextmanager
def lasting_console(*, stderr: bool = False) -> Iterator[Console]:
    """A console on stdout or stderr; until the end of the block nothing fails and nobody ends when that is gone."""
    previous = signal.signal(signal.SIGHUP, _go_on)
    try:
        yield Console(file=cast(IO[str], Terminal(sys.stderr if stderr else sys.stdout)))
    finally:
        signal.signal(signal.SIGHUP, previous or signal.SIG_DFL)


def _go_on(_number: int, _frame: FrameType | None) -> None:
    """A handler, because workers and trainings would inherit an ignored signal."""


class Terminal:
    """A text stream whose writes go nowhere from the first one on that the system refuses."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._let_go()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._let_go()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _let_go(self) -> None:
        """What the stream still holds goes the same way, at the end of the process too."""
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, self._stream.fileno())
        finally:
            os.close(null)
        with contextlib.suppress(OSError):
            self._stream.flush()
