"""Seconds as if alone, on a shared GPU: every step is charged what it costs when nobody else is running.

The first steps of each signature (batch size, what trains) run alone: the meter closes a gate, the co-tenants park at
their next step boundary, and the median of the timed steps becomes the price of that signature. Later steps are charged
that price, whatever they took beside a neighbour. Two spot re-checks look for drift; a step that has become more than
5 % dearer or cheaper is flagged and charged its new price from there on.

A parked co-tenant loses wall time and no budget, since its budget is counted in the same unit. Not promised: that a
neighbour which never reaches a step boundary can be made to wait. The meter then measures beside it and says so.
"""

import statistics
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Protocol

FIRST_WARM, FIRST_TIMED = 10, 30  # steps at the first signature: caches and clock speeds settle
NEXT_WARM, NEXT_TIMED = 2, 10
RECHECK_TIMED = 5
RECHECKS_AT = (1 / 3, 2 / 3)  # of the budget
MOST_SIGNATURES = 16  # further ones are charged what they take: a program cannot keep its neighbours parked
DRIFT_LIMIT = 0.05


class Device(Protocol):
    """What the meter needs of a GPU; a test simulates it."""

    def synchronize(self) -> None:
        """Returns when everything that was enqueued has run."""

    def now(self) -> float:
        """Seconds on a monotonic clock."""


class Gate(Protocol):
    """Mutual exclusion of the co-tenants on one device, at step boundaries."""

    def close(self) -> bool:
        """Waits until the others have parked. False: they did not in time, the caller is not alone."""

    def open(self) -> None: ...

    def step_boundary(self, device: Device) -> None:
        """Parks while another co-tenant has closed the gate."""


@dataclass
class _Price:
    """What one signature costs. `seconds` are its steps alone so far, `value` their median once there are enough."""

    warm: int
    timed: int
    seconds: list[float] = field(default_factory=list)
    value: float | None = None

    def add(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if len(self.seconds) == self.warm + self.timed:
            self.value = statistics.median(self.seconds[self.warm :])


@dataclass
class _Window:
    """Consecutive steps of one signature that run alone (or, if the others do not park, are measured beside them)."""

    signature: Hashable
    price: _Price
    alone: bool
    began_s: float
    steps_s: list[float] = field(default_factory=list)


class SoloMeter:
    """A `models.harness.budget.Meter` for a shared GPU. `budget_s` only says when the re-checks are due."""

    def __init__(self, device: Device, gate: Gate, budget_s: float, free_setup_s: float) -> None:
        self._device, self._gate, self._free_setup_s = device, gate, free_setup_s
        self._origin = device.now()
        self._prices: dict[Hashable, _Price] = {}
        self._charged_s = 0.0
        self._window: _Window | None = None
        self._signature: Hashable = None
        self._step_began_s = 0.0
        self._rechecks = [share * budget_s for share in RECHECKS_AT]
        self._gated_s = 0.0
        self._worst_drift = 0.0
        self._always_alone = True

    @property
    def used(self) -> float:
        """Solo seconds. Inside a window its steps count as the fastest of them until the price is known."""
        pending = self._window.steps_s if self._window is not None else []
        return self._charged_s + len(pending) * min(pending, default=0.0)

    @property
    def facts(self) -> dict[str, object]:
        """For the trial's record: prices, the cost of the gate, drift, and whether every window was alone."""
        return {
            "solo_step_s": [round(price.value, 6) for price in self._prices.values() if price.value is not None],
            "gated_s": round(self._gated_s, 3),
            "drift": round(self._worst_drift, 4),
            "drift_flag": abs(self._worst_drift) > DRIFT_LIMIT,
            "measured_alone": self._always_alone,
        }

    def start(self) -> None:
        self._charged_s = max(0.0, self._device.now() - self._origin - self._free_setup_s)

    def before_step(self, signature: Hashable) -> None:
        if self._window is not None and signature != self._signature:
            self._end_window(self._window)
        self._signature = signature
        if self._window is None:
            self._gate.step_boundary(self._device)
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
        if window.price.value is not None:
            self._end_window(window)

    def pause(self) -> None:
        """The harness's own work is not part of any step."""

    def resume(self, free_s: float) -> None:
        pass

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
            self._open_window(signature, _Price(warm=1, timed=RECHECK_TIMED))

    def _open_window(self, signature: Hashable, price: _Price) -> None:
        self._device.synchronize()
        began_s = self._device.now()
        alone = len(self._prices) <= MOST_SIGNATURES and self._gate.close()
        self._always_alone = self._always_alone and alone
        self._window = _Window(signature, price, alone, began_s)

    def _end_window(self, window: _Window) -> None:
        """Lets the others go on, charges the window's steps, and sets or re-checks the price."""
        self._gate.open()
        self._gated_s += self._device.now() - window.began_s
        self._window = None
        found, known = window.price.value, self._prices[window.signature]
        self._charged_s += sum(window.steps_s) if found is None else found * len(window.steps_s)
        if found is None or window.price is known or known.value is None or not window.alone:
            return
        drift = found / known.value - 1.0
        self._worst_drift = max(self._worst_drift, drift, key=abs)
        if abs(drift) > DRIFT_LIMIT:
            known.value = found
