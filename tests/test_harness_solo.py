"""The solo clock of a shared GPU, against a simulated device: what a step costs alone is what it is charged."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from models.harness import gate as gates
from models.harness.budget import SampleMeter, TimeMeter, meter_for
from models.harness.config import Budget
from models.harness.gate import FileGate
from models.harness.solo import FIRST_TIMED, FIRST_WARM, MOST_SIGNATURES, NEXT_TIMED, NEXT_WARM, SoloMeter

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
        self._device, self._neighbours, self._willing = device, neighbours, willing
        device.neighbours = neighbours
        self.closed = 0

    def close(self) -> bool:
        self.closed += 1
        if self._willing:
            self._device.neighbours = 0
        return self._willing

    def open(self) -> None:
        self._device.neighbours = self._neighbours

    def step_boundary(self, device: object) -> None:
        pass


def steps_within(budget_s: float, meter: SoloMeter, device: SimulatedDevice, signature: object = "a") -> int:
    meter.start()
    steps = 0
    while meter.used < budget_s:
        meter.before_step(signature)
        device.step()
        meter.after_step(512)
        steps += 1
    return steps


def make(
    neighbours: int, budget_s: float = 10.0, *, willing: bool = True
) -> tuple[SoloMeter, SimulatedDevice, SimulatedGate]:
    device = SimulatedDevice()
    gate = SimulatedGate(device, neighbours, willing)
    return SoloMeter(device, gate, budget_s, free_setup_s=5.0), device, gate


@pytest.mark.parametrize("neighbours", [0, 1, 2])
def test_steps_do_not_depend_on_the_neighbours(neighbours: int) -> None:
    meter, device, _ = make(neighbours)
    assert steps_within(10.0, meter, device) == pytest.approx(1000, abs=1)
    assert meter.facts["drift_flag"] is False
    assert device.clock_s > 10.0 * (1 + neighbours)


def test_gate_is_closed_for_the_price_and_two_rechecks_only() -> None:
    meter, device, gate = make(1)
    steps_within(10.0, meter, device)
    assert gate.closed == 3
    assert meter.facts["gated_s"] < 0.06 * 10.0
    assert meter.facts["solo_step_s"] == [SOLO_S]


def test_each_signature_has_its_own_price() -> None:
    meter, device, gate = make(1)
    meter.start()
    for count, (signature, cost) in enumerate([("small", 0.01), ("large", 0.03), ("small", 0.01)]):
        device.step_s = cost
        for _ in range(100):
            meter.before_step(signature)
            device.step()
            meter.after_step(512)
        assert meter.used == pytest.approx([1.0, 4.0, 5.0][count])
    assert meter.facts["solo_step_s"] == [0.01, 0.03]
    assert gate.closed == 3


def test_changing_signatures_all_the_time_trains_nothing_for_free() -> None:
    meter, device, gate = make(0)
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
    meter.start()
    steps = 0
    while meter.used < 10.0:
        device.step_s = SOLO_S if steps < FIRST_WARM + FIRST_TIMED else 2 * SOLO_S
        meter.before_step("a")
        device.step()
        meter.after_step(512)
        steps += 1
    assert meter.facts["drift_flag"] is True
    assert meter.facts["drift"] == pytest.approx(1.0)
    assert meter.facts["solo_step_s"] == [2 * SOLO_S]
    assert steps == pytest.approx(333 + 667 / 2, abs=10)


def test_neighbour_that_does_not_park_is_reported() -> None:
    meter, device, _ = make(1, willing=False)
    steps_within(2.0, meter, device)
    assert meter.facts["measured_alone"] is False
    assert meter.facts["solo_step_s"] == [pytest.approx(2.4 * SOLO_S)]


def test_setup_above_its_limit_is_charged() -> None:
    meter, device, _ = make(0)
    device.clock_s += 7.0
    meter.start()
    assert meter.used == pytest.approx(2.0)


def test_each_budget_has_its_meter(tmp_path: Path) -> None:
    shared = (SimulatedDevice(), FileGate(tmp_path / "gate"))
    assert isinstance(meter_for(Budget("solo_seconds", 10), shared, cpu=False), SoloMeter)
    assert isinstance(meter_for(Budget("solo_seconds", 10), None, cpu=False), TimeMeter)
    assert isinstance(meter_for(Budget("seconds", 10), shared, cpu=False), TimeMeter)
    assert isinstance(meter_for(Budget("samples", 10), shared, cpu=False), SampleMeter)


def test_cpu_time_does_not_pass_while_waiting() -> None:
    wall, solo = (meter_for(Budget(kind, 10), None, cpu=True) for kind in ("seconds", "solo_seconds"))
    wall.start()
    solo.start()
    time.sleep(0.05)
    assert wall.used >= 0.05
    assert solo.used < 0.04


def test_closing_waits_for_the_others_to_park(tmp_path: Path) -> None:
    ours, theirs = FileGate(tmp_path / "gate"), FileGate(tmp_path / "gate")
    device = SimulatedDevice()
    theirs.step_boundary(device)
    events: list[str] = []

    def neighbour() -> None:
        while not theirs._wanted[0]:
            time.sleep(0.001)
        events.append("sees it")
        theirs.step_boundary(device)
        events.append("goes on")

    thread = threading.Thread(target=neighbour)
    thread.start()
    assert ours.close()
    events.append("alone")
    ours.open()
    thread.join(timeout=5)
    assert events == ["sees it", "alone", "goes on"]
    assert not theirs._wanted[0]


def test_neighbour_that_never_parks_does_not_hang_us(tmp_path: Path) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    FileGate(tmp_path / "gate")
    ours = FileGate(tmp_path / "gate", sleep=sleep, now=lambda: now[0])
    hung = FileGate(tmp_path / "gate")
    assert not ours.close()
    assert now[0] == pytest.approx(gates.CLOSE_LIMIT_S, abs=0.1)
    ours.open()
    assert hung._wanted[0] == 0


def test_killed_holder_does_not_leave_the_gate_closed(tmp_path: Path) -> None:
    path = tmp_path / "gate"
    program = (
        "import sys, pathlib; from models.harness.gate import FileGate; FileGate(pathlib.Path(sys.argv[1])).close()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", f"{program}; print(flush=True); input()", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    holder.stdout.readline()
    holder.kill()
    holder.communicate()
    ours = FileGate(path)
    assert ours._wanted[0] == 1
    ours.step_boundary(SimulatedDevice())
    assert ours._wanted[0] == 0
    assert ours.close()
