"""How long a pod has lived, over all restarts of its processes, and how long it may.

Two clocks, and the one that runs out first counts: seconds since boot, which nobody sets and which do not stand still
while the machine sleeps, and the wall clock against the order's deadline. So a clock that is set back gives no time;
one that is set forward past the deadline ends the pod early, with its results.

Not promised: across a restart of the *machine* (not of the container) the gap is taken from the wall clock, so one that
was set back in the middle of it hides the gap. The wall deadline and the renter's own look at the pod remain.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from swarm.pods.inside.home import Home, number, read_json, text, write_json
from swarm.pods.inside.told import Order

EARLIEST_S = 60.0  # a pod's clock that is further behind the order than this is wrong
LATEST_S = 3600.0  # ... or further ahead
WRITE_EVERY_S = 10.0  # what lies between two writes is counted all the same, by the clocks
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch. May jump."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def sleep(self, seconds: float) -> None: ...


class PodClock:
    """Its monotonic seconds go on while the machine sleeps or is frozen with its boot."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def boot_id() -> str:
    """Empty where the kernel does not say."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


@dataclass(slots=True)
class Life:
    """Of one pod. `spent_s` counts from the entry's first second."""

    spent_s: float
    wall_counts: bool
    _boot: str
    _monotonic: float
    _written_at: float = float("-inf")

    @classmethod
    def resumed(cls, home: Home, order: Order, clock: Clock, boot: str) -> "Life":
        """As written down by an earlier watchdog of this home, or a new one."""
        kept, now, monotonic = read_json(home.watch), clock.now(), clock.monotonic()
        spent, wall, then = number(kept, "spent_s"), number(kept, "wall"), number(kept, "monotonic")
        if spent is None or wall is None or then is None:
            plausible = order.issued_at - EARLIEST_S <= now <= order.issued_at + LATEST_S
            return cls(0.0, plausible, boot, monotonic)
        same_boot = boot and text(kept, "boot") == boot
        gap = monotonic - then if same_boot else now - wall
        return cls(spent + max(0.0, gap), kept.get("wall_counts") is True, boot, monotonic)

    def tick(self, home: Home, clock: Clock) -> None:
        """Counts what has passed since the last one, and writes it down now and then."""
        monotonic = clock.monotonic()
        self.spent_s += max(0.0, monotonic - self._monotonic)
        self._monotonic = monotonic
        if monotonic - self._written_at < WRITE_EVERY_S:
            return
        self._written_at = monotonic
        fields: dict[str, object] = {"spent_s": self.spent_s, "wall": clock.now(), "monotonic": monotonic}
        write_json(home.watch, {**fields, "boot": self._boot, "wall_counts": self.wall_counts})

    def left_s(self, order: Order, clock: Clock) -> float:
        """Until it has to be gone; negative when it should be gone already."""
        paid = order.paid_s - self.spent_s
        return min(paid, order.deadline_at - clock.now()) if self.wall_counts else paid
