"""The solo clock of a shared GPU, against a simulated device: what a step costs alone is what it is charged.

The gate's kernel locks are tried in `test_harness_gate.py`.
"""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from swarm.harness.budget import SampleMeter, TimeMeter, meter_for
from swarm.harness.gate import PARK_LIMIT_S, FileGate
from swarm.harness.solo import (
    FIRST_TIMED,
    FIRST_WARM,
    MOST_SIGNATURES,
    NEXT_TIMED,
    NEXT_WARM,
    RECHECK_TIMED,
    RECHECKS_WITHIN,
    WINDOW_LIMIT_S,
    SoloMeter,
)
from swarm.trial.config import WorkBudget

SOLO_S = 0.010


class SimulatedDevice:
    """Time that only steps take; `neighbours` make them slower. Steps run when the queue is synchronised or read."""

    def __init__(self) -> None:
        self.clock_s = 0.0
        self.neighbours = 0
        self.step_s = SOLO_S

    def step(self) -> None:
        self.clock_s += self.step_s * (1 + 1.4 * self.neighbours)

    def synchronize(self) -> None:
        pass

    def now(self) -> float:
        return self.clock_s


class SimulatedGate:
    """Closing it makes the neighbours go away, if they are willing."""

    def __init__(self, device: SimulatedDevice, neighbours: int, willing: bool = True) -> None:
        self._device, self._neighbours, self.willing = device, neighbours, willing
        self.waited_s = 0.0
        device.neighbours = neighbours
        self.closed = 0

    def close(self) -> bool:
        self.closed += 1
        if self.willing:
            self._device.neighbours = 0
        return self.willing

    def open(self) -> None:
        self._device.neighbours = self._neighbours

    def step_boundary(self, device: object) -> None:
        pass


def steps_within(
    budget_s: float, meter: SoloMeter, device: SimulatedDevice, cost_s: Callable[[int], float] = lambda step: SOLO_S
) -> int:
    """Steps until the budget is spent; `cost_s`: what the step of this number takes alone."""
    meter.start()
    steps = 0
    while meter.used < budget_s:
        meter.before_step("a")
        device.step_s = cost_s(steps)
        device.step()
        meter.after_step(512)
        steps += 1
    return steps


def make(
    neighbours: int, budget_s: float = 10.0, *, willing: bool = True, lot: Callable[[], float] = lambda: 0.75
) -> tuple[SoloMeter, SimulatedDevice, SimulatedGate]:
    """By this lot the re-checks come at 20, 40, 60, 80 and 95 % of the budget."""
    device = SimulatedDevice()
    gate = SimulatedGate(device, neighbours, willing)
    return SoloMeter(device, gate, budget_s, free_setup_s=5.0, lot=lot), device, gate


@pytest.mark.parametrize("neighbours", [0, 1, 2])
def test_steps_do_not_depend_on_the_neighbours(neighbours: int) -> None:
    meter, device, _ = make(neighbours)
    assert steps_within(10.0, meter, device) == pytest.approx(1000, abs=1)
    assert meter.facts["drift_flag"] is False
    assert device.clock_s > 10.0 * (1 + neighbours)


def test_gate_is_closed_for_the_price_and_the_rechecks_only() -> None:
    meter, device, gate = make(1, budget_s=100.0)
    steps_within(100.0, meter, device)
    assert gate.closed == 1 + len(RECHECKS_WITHIN)
    assert meter.facts["gated_s"] < 0.02 * 100.0
    assert meter.facts["solo_step_s"] == [SOLO_S]


def test_each_signature_has_its_own_price() -> None:
    meter, device, gate = make(1, budget_s=100.0)
    meter.start()
    for count, (signature, cost) in enumerate([("small", 0.01), ("large", 0.03), ("small", 0.01)]):
        device.step_s = cost
        for _ in range(100):
            meter.before_step(signature)
            device.step()
            meter.after_step(512)
        assert meter.used == pytest.approx([1.0, 4.0, 5.0][count])
    assert meter.facts["solo_step_s"] == [0.01, 0.03]
    assert gate.closed == 2


def test_changing_signatures_all_the_time_trains_nothing_for_free() -> None:
    meter, device, gate = make(0, budget_s=100.0)
    meter.start()
    for step in range(200):
        device.step_s = 0.02 if step % 2 else 0.01
        meter.before_step(step % 2)
        device.step()
        meter.after_step(512)
    assert meter.used == pytest.approx(200 * 0.015)
    assert gate.closed == FIRST_WARM + FIRST_TIMED + NEXT_WARM + NEXT_TIMED


def test_endless_new_signatures_cannot_keep_the_neighbours_parked() -> None:
    meter, device, gate = make(1)
    meter.start()
    for step in range(100):
        meter.before_step(step)
        device.step()
        meter.after_step(512)
    assert gate.closed == MOST_SIGNATURES
    assert meter.used > 100 * SOLO_S


def test_step_that_becomes_dearer_is_flagged_and_repriced() -> None:
    meter, device, _ = make(1)
    priced = FIRST_WARM + FIRST_TIMED
    steps = steps_within(10.0, meter, device, lambda step: SOLO_S if step < priced else 2 * SOLO_S)
    assert meter.facts["drift_flag"] is True
    assert meter.facts["drift"] == pytest.approx(1.0)
    assert meter.facts["solo_step_s"] == [2 * SOLO_S]
    cheap = 0.2 * 1000
    assert steps == pytest.approx(cheap + (1000 - cheap) / 2, abs=RECHECK_TIMED)


@pytest.mark.parametrize("drift", [-0.04, 0.02, 0.04])
def test_a_drift_below_the_limit_is_corrected_and_not_flagged(drift: float) -> None:
    """A card that warms up by 4 % would otherwise give its trial 4 % more work than it pays for."""
    meter, device, _ = make(1, budget_s=100.0)
    priced = FIRST_WARM + FIRST_TIMED
    cost_s = SOLO_S * (1 + drift)
    steps = steps_within(100.0, meter, device, lambda step: SOLO_S if step < priced else cost_s)
    assert meter.facts["solo_step_s"] == [pytest.approx(cost_s, rel=1e-3)]
    assert meter.facts["drift_flag"] is False
    uncorrected_s = 0.2 * 100.0 * abs(drift)  # until the first re-check
    assert abs(steps * cost_s - 100.0) < 1.1 * uncorrected_s + cost_s


def test_rechecks_come_at_moments_that_no_program_can_know() -> None:
    moments = []
    for seed in range(3):
        meter, device, gate = make(0, budget_s=50.0, lot=random.Random(seed).random)
        closed, at = 0, []

        def cost_s(step: int, gate: SimulatedGate = gate, at: list[int] = at) -> float:
            nonlocal closed
            if gate.closed > closed:
                closed = gate.closed
                at.append(step)
            return SOLO_S

        steps_within(50.0, meter, device, cost_s)
        assert len(at) == 1 + len(RECHECKS_WITHIN)
        shares = [step / 5000 for step in at[1:]]
        assert all(low <= share <= high + 0.01 for share, (low, high) in zip(shares, RECHECKS_WITHIN, strict=True))
        moments.append(tuple(at[1:]))
    assert len(set(moments)) == 3


def test_the_lot_is_nobodys_generator() -> None:
    draws = []
    for _ in range(2):
        random.seed(1)
        draws.append(SoloMeter.__init__.__defaults__[0]())
    assert draws[0] != draws[1]


@pytest.mark.parametrize("after", [0.3, 0.5, 0.7, 0.9])
def test_dearer_steps_are_found_wherever_they_begin(after: float) -> None:
    meter, device, _ = make(1)
    steps_within(10.0, meter, device, lambda step: SOLO_S if step < after * 1000 else 2 * SOLO_S)
    assert meter.facts["drift_flag"] is True


@pytest.mark.parametrize("every", [2, 3, 4, 5])
def test_a_dearer_step_now_and_then_is_paid_for(every: int) -> None:
    """A second pass in every fourth step, say: a median would not see it."""
    meter, device, _ = make(1, budget_s=100.0)
    before_s = device.clock_s
    steps = steps_within(100.0, meter, device, lambda step: 2 * SOLO_S if step % every == 0 else SOLO_S)
    work_s = steps * SOLO_S * (1 + 1 / every)
    assert work_s == pytest.approx(100.0, rel=0.06)
    assert device.clock_s - before_s > work_s


def test_one_hiccup_does_not_make_every_step_dearer() -> None:
    meter, device, _ = make(0, budget_s=100.0)
    steps = steps_within(100.0, meter, device, lambda step: 3.0 if step == FIRST_WARM + 3 else SOLO_S)
    assert steps == pytest.approx(10_000, abs=2)


def test_work_hidden_in_the_steps_that_warm_up_is_charged_above_the_free_setup() -> None:
    """make() leaves 5 s of free set-up, of which nothing was used before the start."""
    meter, device, _ = make(1, budget_s=100.0)
    steps = steps_within(100.0, meter, device, lambda step: 0.9 if step < FIRST_WARM else SOLO_S)
    hidden_s = FIRST_WARM * (0.9 - SOLO_S)
    assert steps == pytest.approx((100.0 - (hidden_s - 5.0)) / SOLO_S, abs=2)


def test_slow_steps_do_not_keep_the_gate_closed() -> None:
    meter, device, gate = make(1, budget_s=400.0)
    steps = steps_within(400.0, meter, device, lambda step: 4.0)
    assert steps == 100
    assert meter.facts["gated_s"] <= gate.closed * 14.0
    assert WINDOW_LIMIT_S < PARK_LIMIT_S, "or the neighbours would go on meanwhile"
    assert meter.facts["solo_step_s"] == [4.0]


def test_what_a_rung_costs_above_what_is_free_is_charged() -> None:
    meter, device, _ = make(0)
    meter.start()
    meter.pause()
    device.clock_s += 3.0
    meter.resume(free_s=1.0)
    assert meter.used == pytest.approx(2.0)


def test_neighbour_that_does_not_park_is_reported() -> None:
    meter, device, _ = make(1, willing=False)
    steps_within(2.0, meter, device)
    assert meter.facts["measured_alone"] is False
    assert meter.facts["solo_step_s"] == [pytest.approx(2.4 * SOLO_S)]


def test_a_neighbour_that_was_busy_for_a_while_spoils_no_price() -> None:
    """It was compiling, say. The next attempt finds the price, and what it was beside the neighbour is no drift."""
    meter, device, gate = make(1, budget_s=100.0, willing=False)

    def cost_s(step: int) -> float:
        gate.willing = step > 100
        return SOLO_S

    steps = steps_within(100.0, meter, device, cost_s)
    assert meter.facts["solo_step_s"] == [SOLO_S]
    assert (meter.facts["measured_alone"], meter.facts["drift_flag"]) == (True, False)
    assert steps > 9_500


def test_a_check_that_was_not_alone_leaves_a_good_price_as_it_is() -> None:
    meter, device, gate = make(1)

    def cost_s(step: int) -> float:
        gate.willing = step < 100
        return SOLO_S

    steps_within(10.0, meter, device, cost_s)
    assert meter.facts["solo_step_s"] == [SOLO_S]
    assert (meter.facts["measured_alone"], meter.facts["drift_flag"]) == (True, False)


def test_setup_above_its_limit_is_charged_and_waiting_is_none() -> None:
    meter, device, gate = make(0)
    device.clock_s += 7.0
    gate.waited_s = 1.5
    meter.start()
    assert meter.used == pytest.approx(0.5)


def test_each_budget_has_its_meter(tmp_path: Path) -> None:
    for name in ("gate", "gate.turn"):
        (tmp_path / name).touch()
    shared = (SimulatedDevice(), FileGate(tmp_path / "gate"))
    assert isinstance(meter_for(WorkBudget("solo_seconds", 10), shared, cpu=False), SoloMeter)
    assert isinstance(meter_for(WorkBudget("solo_seconds", 10), None, cpu=False), TimeMeter)
    assert isinstance(meter_for(WorkBudget("seconds", 10), shared, cpu=False), TimeMeter)
    assert isinstance(meter_for(WorkBudget("samples", 10), shared, cpu=False), SampleMeter)


def test_cpu_time_does_not_pass_while_waiting() -> None:
    wall, solo = (meter_for(WorkBudget(kind, 10), None, cpu=True) for kind in ("seconds", "solo_seconds"))
    wall.start()
    solo.start()
    time.sleep(0.05)
    assert wall.used >= 0.05
    assert solo.used < 0.04
