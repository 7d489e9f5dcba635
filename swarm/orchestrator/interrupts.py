"""A person's wish to stop, as signals: the first SIGINT drains, a second one or a SIGTERM stops at once."""

import signal
from collections.abc import Callable
from types import FrameType

from swarm.orchestrator.control import Control


class Interrupts:
    """Takes both signals while its block lasts, and passes each on as `tell(control)`. For the main thread."""

    def __init__(self, tell: Callable[[Control], None]) -> None:
        self.count = 0
        self._tell = tell

    @property
    def at_once(self) -> bool:
        return self.count > 1

    def __enter__(self) -> "Interrupts":
        self._previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.count += 2 if number == signal.SIGTERM else 1
        self._tell(Control.NOW if self.at_once else Control.DRAIN)
