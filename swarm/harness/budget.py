"""What a training has used of its budget: in images, in wall seconds, or in seconds as if it had run alone.

A meter is told when the candidate's code begins, when training starts, and where each step begins and ends; `used` is
in the budget's unit.
"""

import math
import resource
import time
from collections.abc import Callable, Hashable
from typing import Protocol

from swarm.harness.compiler import compiled_s
from swarm.harness.solo import FREE_BUILD_S, Device, Gate, SoloMeter
from swarm.trial.config import WorkBudget

FREE_COMPILE_S, FREE_COMPILE_SHARE, LEAST_FREE_COMPILE_S = 60.0, 0.25, 10.0
FREE_CPU_SETUP_S, FREE_CPU_SETUP_SHARE = 0.25, 0.01


class Meter(Protocol):
    def begin(self) -> None:
        """The candidate's code is next: what it does from here on is charged, or is set-up."""

    def start(self) -> None:
        """Training begins now; whatever was used since `begin` above `free_setup_s` is charged."""

    def park(self) -> None:
        """Work that is not timed comes next: waits while a co-tenant of the device is timed alone."""

    def before_step(self, signature: Hashable) -> None:
        """A step begins. Equal signatures cost the same alone (same shapes, same trainable parameters)."""

    def after_step(self, images: int) -> None:
        """The step has ended (on a GPU: has been enqueued)."""

    def pause(self) -> None:
        """What follows is the harness's own work, such as the evaluation at a rung."""

    def resume(self, free_s: float) -> None:
        """Training goes on. What the harness's work cost above `free_s`, on the meter's own clock, is charged."""

    @property
    def used(self) -> float: ...

    @property
    def facts(self) -> dict[str, object]:
        """What the trial's record should say about the measuring itself."""


def free_setup_s(budget_s: float, *, cpu: bool) -> float:
    """Set-up (building, compiling, warming up) costs nothing up to this many seconds of the meter's own clock.

    On a CPU a quarter of a second and a hundredth of the budget, about twice what the targets here take: who trains
    before the clock starts trains on the budget, and a compilation is on it too. On a GPU, where a compilation belongs
    to it, a quarter of the budget, at least 10 s and at most 60 s; what is not compiling has FREE_BUILD_S of that.
    """
    if cpu:
        return FREE_CPU_SETUP_S + FREE_CPU_SETUP_SHARE * budget_s
    return min(FREE_COMPILE_S, max(LEAST_FREE_COMPILE_S, FREE_COMPILE_SHARE * budget_s))


class SampleMeter:
    """Counts images: the same seed and code give the same numbers, however fast the machine."""

    def __init__(self) -> None:
        self._images = 0

    def begin(self) -> None:
        pass

    def start(self) -> None:
        self._images = 0

    def park(self) -> None:
        pass

    def before_step(self, signature: Hashable) -> None:
        pass

    def after_step(self, images: int) -> None:
        self._images += images

    def pause(self) -> None:
        pass

    def resume(self, free_s: float) -> None:
        pass

    @property
    def used(self) -> float:
        return float(self._images)

    @property
    def facts(self) -> dict[str, object]:
        return {}


class TimeMeter:
    """Seconds of a clock: the wall's (`time.monotonic`), or the process's CPU time of all its threads.

    CPU time is the solo clock of a CPU: a neighbour on the same core does not add to it, apart from what shared caches
    and clock speeds do. It sees child processes once they have ended, such as compilers; the supervisor's limit on the
    whole tree sees them all. `compiled_s`: as in `SoloMeter`.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        free_setup_s: float,
        compiled_s: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._clock = clock
        self._compiled_s = compiled_s
        self._free_s = free_setup_s
        self._origin = clock()
        self._paused_at: float | None = None

    def begin(self) -> None:
        self._origin = self._clock()

    def start(self) -> None:
        now = self._clock()
        free_s = min(self._free_s, FREE_BUILD_S + self._compiled_s())
        charged_s = max(0.0, now - self._origin - free_s)
        self._origin = now - charged_s

    def park(self) -> None:
        pass

    def before_step(self, signature: Hashable) -> None:
        pass

    def after_step(self, images: int) -> None:
        pass

    def pause(self) -> None:
        self._paused_at = self._clock()

    def resume(self, free_s: float) -> None:
        if self._paused_at is not None:
            self._origin += min(free_s, self._clock() - self._paused_at)
            self._paused_at = None

    @property
    def used(self) -> float:
        return (self._clock() if self._paused_at is None else self._paused_at) - self._origin

    @property
    def facts(self) -> dict[str, object]:
        return {}


def meter_for(budget: WorkBudget, shared: tuple[Device, Gate] | None, *, cpu: bool) -> Meter:
    """The meter of a training. `shared` is the GPU and its gate where other trials may run beside this one.

    `solo_seconds` is CPU time on a CPU, priced steps on a shared GPU, and wall time on a GPU that is ours alone.
    """
    if budget.kind == "samples":
        return SampleMeter()
    free_s = free_setup_s(budget.amount, cpu=cpu)
    if budget.kind == "solo_seconds" and shared is not None:
        return SoloMeter(*shared, budget.amount, free_s, compiled_s=compiled_s)
    return TimeMeter(cpu_time if budget.kind == "solo_seconds" and cpu else time.monotonic, free_s, compiled_s)


def cpu_time() -> float:
    """CPU seconds of this process, all its threads, and those of its children that have ended and were waited for."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime
