"""The clock seam: wall time for people, monotonic time for deadlines, and sleep.

Nothing in the control plane reads `time` for a decision; it takes a `Clock`, so that a test never waits.
"""

import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the Unix epoch. May jump; for display and records only."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back. For deadlines and durations."""

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
