"""Seconds as if alone, on a shared GPU: every step is charged what it costs when nobody else is running.

The first steps of each signature (shape of the batch, what trains) run alone: the meter closes a gate, the co-tenants
park at their next step boundary, and the mean of the timed steps becomes the price of that signature (a mean, because
every fourth step of a program may be dearer by right; one lone outlier is left out, because a machine hiccups). Later
steps are charged that price, whatever they took beside a neighbour. A few spot re-checks, at moments drawn by lot,
look for drift: what they find is the price from there on, and more than 5 % dearer or cheaper is flagged.

What the steps in a window took beyond their price is set-up: it uses up what is left of the free set-up time, and is
charged after that. A window ends early when its steps are slow, so that nobody is kept waiting for long.

A parked co-tenant loses wall time and no budget, since its budget is counted in the same unit. Not promised: that a
neighbour which never reaches a step boundary can be made to wait (the meter then measures beside it, tries again a
little later, and says so if that was in vain), or that a step which is dear only between two checks is seen.
"""

import math
import random
import statistics
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Protocol

FIRST_WARM, FIRST_TIMED = 10, 30  # steps at the first signature: caches and clock speeds settle
NEXT_WARM, NEXT_TIMED = 2, 12  # twelve: what comes every second, third, fourth or sixth step gets its share
RECHECK_WARM, RECHECK_TIMED = 1, 12
RECHECKS_WITHIN = ((0.05, 0.25), (0.25, 0.45), (0.45, 0.65), (0.65, 0.85), (0.85, 0.98))
"""Shares of the budget. One re-check in each, at a moment that no program can know: none is cheap just then."""
FREE_BUILD_S = 10.0  # of the set-up: building, the libraries' loading, the first steps: 2 to 6 s on an H200
RETRY_AFTER = 0.02  # of the budget, when a window was not alone
WINDOW_LIMIT_S = 10.0  # less than any neighbour waits
LEAST_TIMED = 3
OUTLIER = 1.5  # times the second slowest
MOST_SIGNATURES = 16  # further ones are charged what they take: a program cannot keep its neighbours parked
DRIFT_LIMIT = 0.05
_LOT = random.SystemRandom().random


class Device(Protocol):
    """What the meter needs of a GPU; a test simulates it."""

    def synchronize(self) -> None:
        """Returns when everything that was enqueued has run."""

    def now(self) -> float:
        """Seconds on a monotonic clock."""


class Gate(Protocol):
    """Mutual exclusion of the co-tenants on one device, at step boundaries. `waited_s`: wall seconds parked so far."""

    waited_s: float

    def close(self) -> bool:
        """Waits until the others have parked. False: they did not in time, the caller is not alone."""

    def open(self) -> None: ...

    def step_boundary(self, device: Device) -> None:
        """Parks while another co-tenant has closed the gate."""


@dataclass
class _Price:
    """What one signature costs. `seconds` are its steps alone so far, `value` their price once there are enough."""

    warm: int
    timed: int
    seconds: list[float] = field(default_factory=list)
    value: float | None = None
    alone: bool = True

    def add(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if len(self.seconds) == self.warm + self.timed:
            self.settle()

    def settle(self) -> None:
        """Prices what was timed so far; steps that were to warm up count if there are hardly others."""
        timed = sorted(self.seconds[min(self.warm, len(self.seconds) - LEAST_TIMED) :])
        self.value = statistics.fmean(timed[:-1] if timed[-1] > OUTLIER * timed[-2] else timed)


@dataclass
class _Window:
    """Consecutive steps of one signature that run alone (or, if the others do not park, are measured beside them)."""

    signature: Hashable
    price: _Price
    began_s: float
    closed_s: float
    steps_s: list[float] = field(default_factory=list)


class SoloMeter:
    """A `swarm.harness.budget.Meter` for a shared GPU. `budget_s` only says when the re-checks are due. `compiled_s`:
    seconds that were spent compiling; of the set-up that and FREE_BUILD_S are free, up to `free_setup_s`."""

    def __init__(
        self,
        device: Device,
        gate: Gate,
        budget_s: float,
        free_setup_s: float,
        lot: Callable[[], float] = _LOT,
        compiled_s: Callable[[], float] = lambda: math.inf,
    ) -> None:
        """`lot` draws from [0, 1): not from a generator that the program seeds, or could read."""
        self._compiled_s = compiled_s
        self._device, self._gate, self._free_setup_s = device, gate, free_setup_s
        self._origin = device.now()
        self._prices: dict[Hashable, _Price] = {}
        self._charged_s = 0.0
        self._free_s = 0.0
        self._paused_s = 0.0
        self._window: _Window | None = None
        self._signature: Hashable = None
        self._step_began_s = 0.0
        self._rechecks = [(low + lot() * (high - low)) * budget_s for low, high in RECHECKS_WITHIN]
        self._retry_s = RETRY_AFTER * budget_s
        self._gated_s = 0.0
        self._worst_drift = 0.0

    @property
    def used(self) -> float:
        """Solo seconds. Inside a window its steps count as the fastest of them until the price is known; the first ones
        may be slow by accident and count only once there are a few."""
        pending = self._window.steps_s if self._window is not None else []
        return self._charged_s + (len(pending) * min(pending) if len(pending) >= LEAST_TIMED else 0.0)

    @property
    def facts(self) -> dict[str, object]:
        """For the trial's record: prices, the cost of the gate, drift, and whether every price was found alone."""
        return {
            "solo_step_s": [round(price.value, 6) for price in self._prices.values() if price.value is not None],
            "gated_s": round(self._gated_s, 3),
            "waited_s": round(self._gate.waited_s, 3),
            "drift": round(self._worst_drift, 4),
            "drift_flag": abs(self._worst_drift) > DRIFT_LIMIT,
            "measured_alone": all(price.alone for price in self._prices.values()),
        }

    def begin(self) -> None:
        self._origin = self._device.now()

    def start(self) -> None:
        self._free_s = min(self._free_setup_s, FREE_BUILD_S + self._compiled_s())
        self._charge_setup(max(0.0, self._device.now() - self._origin - self._gate.waited_s))

    def park(self) -> None:
        if self._window is None:
            self._gate.step_boundary(self._device)

    def before_step(self, signature: Hashable) -> None:
        if self._window is not None and signature != self._signature:
            self._end_window(self._window)
        self._signature = signature
        self.park()
        if self._window is None:
            self._open_window_if_due(signature)
        self._step_began_s = self._device.now()

    def after_step(self, images: int) -> None:
        window = self._window
        if window is None:
            self._charged_s += self._prices[self._signature].value or 0.0
            return
        self._device.synchronize()
        seconds = self._device.now() - self._step_began_s
        window.steps_s.append(seconds)
        window.price.add(seconds)
        slow = self._device.now() - window.closed_s > WINDOW_LIMIT_S
        if slow and window.price.value is None and len(window.price.seconds) >= LEAST_TIMED:
            window.price.settle()
        if window.price.value is not None:
            self._end_window(window)

    def pause(self) -> None:
        self.park()
        self._device.synchronize()
        self._paused_s = self._device.now()

    def resume(self, free_s: float) -> None:
        self._charged_s += max(0.0, self._device.now() - self._paused_s - free_s)

    def _charge_setup(self, seconds: float) -> None:
        free_s = min(seconds, self._free_s)
        self._free_s -= free_s
        self._charged_s += seconds - free_s

    def _open_window_if_due(self, signature: Hashable) -> None:
        known = self._prices.get(signature)
        if known is None:
            first = not self._prices
            price = _Price(FIRST_WARM, FIRST_TIMED) if first else _Price(NEXT_WARM, NEXT_TIMED)
            self._prices[signature] = price
            self._open_window(signature, price)
        elif known.value is None:  # its window was interrupted by another signature
            self._open_window(signature, known)
        elif self._rechecks and self._charged_s >= self._rechecks[0]:
            self._rechecks.pop(0)
            self._open_window(signature, _Price(RECHECK_WARM, RECHECK_TIMED))

    def _open_window(self, signature: Hashable, price: _Price) -> None:
        self._device.synchronize()
        began_s = self._device.now()
        alone = len(self._prices) <= MOST_SIGNATURES and self._gate.close()
        price.alone = price.alone and alone
        self._window = _Window(signature, price, began_s, self._device.now())

    def _end_window(self, window: _Window) -> None:
        """Lets the others go on, charges the window's steps, and sets or re-checks the price."""
        self._gated_s += self._device.now() - window.began_s
        self._gate.open()
        self._window = None
        found, known = window.price.value, self._prices[window.signature]
        took_s = sum(window.steps_s)
        priced_s = took_s if found is None else min(took_s, found * len(window.steps_s))
        self._charged_s += priced_s
        self._charge_setup(took_s - priced_s)
        if found is not None and not window.price.alone and len(self._prices) <= MOST_SIGNATURES:
            self._rechecks.insert(0, self._charged_s + self._retry_s)
        if found is None or window.price is known or known.value is None or not window.price.alone:
            return
        if not known.alone:  # what it was beside a neighbour is no price to drift from
            known.value, known.alone = found, True
            return
        drift = found / known.value - 1.0
        self._worst_drift = max(self._worst_drift, drift, key=abs)
        known.value = found
