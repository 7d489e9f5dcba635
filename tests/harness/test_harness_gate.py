"""The gate of a shared GPU between real processes, inside the sandbox that the executor asks for.

The device is simulated: a step of a process costs more while the other one runs steps too, and each keeps its own time.
"""

import json
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes.trial_programs import Programs, finish, until

from swarm import sandbox
from swarm.execution import phases
from swarm.execution.attempt import read_attempt
from swarm.execution.evidence import Terms
from swarm.execution.executor import MemoryEvidence, TrialOrder
from swarm.harness import gate as gates
from swarm.harness.gate import FileGate
from swarm.records import Budget
from swarm.supervisor import PhaseResult, Running, TrialResult
from swarm.trial.contract import code_root
from swarm.trial.folder import TrialFolder

SOLO_S = 0.010
BUDGET = Budget(kind="solo_seconds", amount=5, walltime_limit_s=60)
TERMS = Terms(BUDGET, "cuda", threads=1)
ORDER = TrialOrder(
    study_id="s",
    trial_id="t0001",
    agent_id="worker_1",
    target="tiny",
    files={"train.py": b""},
    editable="train.py",
    seed=1,
    budget=BUDGET,
    device="cuda",
    threads=1,
    harness_sha256="",
    memory=MemoryEvidence(profile_mib=1200),
)
needs_sandbox = pytest.mark.skipif(
    sandbox.probe().landlock_abi < 3 or not sandbox.probe().seccomp,
    reason=f"no full sandbox on this machine, so the gate inside one is not verified: {sandbox.probe().detail}",
)

# Runs in the sandbox. `trained(budget_s)` trains for a budget beside whoever else uses the same device.
TENANT = f"""
import json, mmap, os, sys, time
from pathlib import Path
from swarm.harness.gate import FileGate
from swarm.harness.solo import SoloMeter

class SharedDevice:
    def __init__(self, path, number):
        file = os.open(path, os.O_RDWR)
        self.running, self.number, self.clock_s = mmap.mmap(file, 4), number, 0.0

    def step(self, work=1.0):
        self.running[self.number] = 1
        crowded = self.running[1 - self.number]
        time.sleep(0.001)
        crowded |= self.running[1 - self.number]
        self.clock_s += work * {SOLO_S} * (1 + 1.4 * crowded)

    def meet(self):
        self.running[2 + self.number] = 1
        while not self.running[3 - self.number]:
            time.sleep(0.001)

    def synchronize(self):
        self.running[self.number] = 0

    def now(self):
        return self.clock_s

def trained(budget_s, device, gate):
    meter = SoloMeter(device, gate, budget_s, free_setup_s=0.0)
    meter.start()
    steps = 0
    while meter.used < budget_s:
        meter.before_step("a")
        device.step()
        meter.after_step(512)
        steps += 1
    device.synchronize()
    return dict(steps=steps, device_s=device.clock_s, **meter.facts)

def wait_for(path):
    while not path.exists():
        time.sleep(0.002)

out, device, path = Path("../train_out"), SharedDevice({{device!r}}, {{number}}), Path({{gate!r}})
"""


class SimulatedDevice:
    def synchronize(self) -> None:
        pass

    def now(self) -> float:
        return 0.0


@dataclass
class Card:
    """One simulated GPU with its gate, and the trials on it."""

    root: Path
    gate: Path
    tenants: list[Programs]

    def start(self, source: str) -> Running:
        """A sandboxed `train` phase with the paths that the executor grants, plus the simulated device."""
        number = len(self.tenants)
        tenant = Programs(self.root / f"tenant_{number}")
        tenant.folder.mkdir(parents=True)
        (tenant.modules / "tenant").mkdir(parents=True)
        (tenant.modules / "tenant" / "__init__.py").write_text("import swarm.harness\n")
        TrialFolder(tenant.folder).make()
        self.tenants.append(tenant)
        top = TENANT.format(device=str(self.device), number=number, gate=str(self.gate))
        (tenant.modules / "tenant" / "train.py").write_text(top + textwrap.dedent(source))
        granted = phases.trial_phases(TrialFolder(tenant.folder), ORDER, self.root / "data", self.gate)[0]
        phase = replace(
            granted,
            module="tenant.train",
            read=(*granted.read, str(tenant.modules)),
            write=(*granted.write, str(self.device)),
            stall_limit_s=None,
        )
        return tenant.launch(replace(tenant.spec(phase, sandbox="strict"), pythonpath=(*_PATH, str(tenant.modules))))

    @property
    def device(self) -> Path:
        return self.root / "device"

    def result(self, running: Running) -> tuple[TrialResult, dict[str, object]]:
        """How it ended, and the last line it printed."""
        result = finish(running)
        log = TrialFolder(running.folder).log_text("train")
        assert result.phases[0].ending == "ok", log
        assert result.sandbox == replace(sandbox.probe(), level=result.sandbox.level, other_user=False)
        return result, json.loads(log.splitlines()[-1])


_PATH = (str(code_root()),)


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    monkeypatch.setenv("SWARM_GPU_DIR", str(tmp_path / "ledger"))
    gate = phases.gate_of(SimpleNamespace(device="GPU-0", alone=False), ORDER)  # type: ignore[arg-type]
    assert gate is not None
    (tmp_path / "device").write_bytes(bytes(4))
    built = Card(tmp_path, gate, [])
    yield built
    for tenant in built.tenants:
        tenant.close()


@needs_sandbox
def test_two_confined_trials_are_charged_as_if_alone(card: Card) -> None:
    """Each says what its steps cost; while a price is found the other one must be parked, or it would be 2.4 times."""
    source = "gate = FileGate(path)\ndevice.meet()\nprint(json.dumps(trained(5.0, device, gate)))"
    first, second = card.start(source), card.start(source)
    for _, said in (card.result(first), card.result(second)):
        assert said["solo_step_s"] == [SOLO_S]
        assert (said["measured_alone"], said["drift_flag"]) == (True, False)
        assert said["steps"] == pytest.approx(500, abs=3)
        assert said["device_s"] > 5.0 * 1.2, "they did run at the same time"


@needs_sandbox
def test_a_program_can_lock_the_gate_and_do_nothing_else_to_it(card: Card) -> None:
    attempts = {
        "write": "open(path, 'w')",
        "append": "open(path, 'ab')",
        "both": "os.open(path, os.O_RDWR)",
        "truncate": "os.truncate(path, 0)",
        "delete": "os.unlink(path)",
        "rename": "os.rename(path, 'gate')",
        "put another in its place": "os.rename('here', path)",
        "hard link": "os.link(path, 'gate')",
        "turn": "open(str(path) + '.turn', 'w')",
        "ledger": "os.listdir(path.parent)",
    }
    source = f"""
said = {{}}
Path("here").touch()
for name, code in {attempts!r}.items():
    try:
        exec(code)
        said[name] = "done"
    except OSError as error:
        said[name] = type(error).__name__
print(json.dumps(said))
"""
    _, said = card.result(card.start(source))
    assert said.pop("hard link") in ("PermissionError", "OSError")
    assert set(said.values()) <= {"PermissionError", "OSError"}, said
    assert [path.read_bytes() for path in sorted(card.gate.parent.iterdir())] == [b"", b""]


@needs_sandbox
def test_a_trial_that_hoards_the_gate_is_named_and_its_neighbour_goes_on(
    card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    hoarder = card.start(
        """
        gate = FileGate(path)
        assert gate.close()
        (out / "hoards").touch()
        wait_for(out / "stop")
        print(json.dumps({}))
        """
    )
    until((TrialFolder(hoarder.folder).train_out / "hoards").exists, "the gate is closed")
    neighbour = card.start(
        """
        import swarm.harness.gate as gates
        gates.PARK_LIMIT_S = gates.CLOSE_LIMIT_S = 0.4
        gate = FileGate(path)
        print(json.dumps(trained(5.0, device, gate)))
        """
    )
    _, said = card.result(neighbour)
    assert said["measured_alone"] is False
    assert said["solo_step_s"] == [SOLO_S], "the hoarder runs no steps"
    assert said["steps"] == pytest.approx(500, abs=3)
    waited_s = said["waited_s"]
    assert isinstance(waited_s, float) and waited_s < 0.4 + 0.25 * 5 + 1
    time.sleep(1.0)
    (TrialFolder(hoarder.folder).train_out / "stop").touch()
    monkeypatch.setattr("swarm.execution.flags.GATE_S", 0.2)
    result, _ = card.result(hoarder)
    assert read_attempt(TrialFolder(hoarder.folder), result, TERMS).flags == ("hoarded_gate",)


@pytest.mark.parametrize(("fact", "flag"), [({"measured_alone": False}, "not_alone"), ({"drift_flag": True}, "drift")])
def test_what_the_meter_found_is_in_the_record(tmp_path: Path, fact: dict[str, bool], flag: str) -> None:
    folder = TrialFolder(tmp_path)
    folder.make()
    folder.train_report.write_text(json.dumps({"meter": {"drift": 0.1, **fact}}))
    phase = PhaseResult("train", 0.0, 1.0, 1.0, 1.0, 0, None, "ok")
    result = TrialResult("t0001", (phase,), sandbox.SandboxReport("none"), 0.0, 1.0)
    assert read_attempt(folder, result, TERMS).flags == (flag,)


@needs_sandbox
def test_a_slow_step_behind_a_closed_gate_is_charged_whole(card: Card) -> None:
    """Hoarding by the rules: one step that does the work of 200, while everybody else is parked."""
    source = """
        gate = FileGate(path)
        meter = SoloMeter(device, gate, 100.0, free_setup_s=0.0)
        meter.start()
        for step in range(40):
            meter.before_step("a")
            device.step(200.0 if step == 3 else 1.0)
            meter.after_step(512)
        print(json.dumps({"used": meter.used, **meter.facts}))
    """
    _, said = card.result(card.start(source))
    assert said["used"] == pytest.approx(39 * SOLO_S + 200 * SOLO_S)


def made(folder: Path) -> Path:
    for name in ("gate", "gate.turn"):
        (folder / name).touch()
    return folder / "gate"


def test_closing_waits_for_the_others_to_park(tmp_path: Path) -> None:
    path = made(tmp_path)
    ours, theirs = FileGate(path), FileGate(path)
    theirs.step_boundary(SimulatedDevice())
    events: list[str] = []
    parked = threading.Event()

    class TheirDevice(SimulatedDevice):
        def synchronize(self) -> None:
            events.append("parks")
            parked.set()

    def neighbour() -> None:
        device = TheirDevice()
        while not parked.is_set():
            theirs.step_boundary(device)
        events.append("goes on")

    thread = threading.Thread(target=neighbour)
    thread.start()
    assert ours.close()
    events.append("alone")
    ours.open()
    thread.join(timeout=5)
    assert events == ["parks", "alone", "goes on"]


class Waiting:
    """Time that only sleeping takes."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def now(self) -> float:
        return self.now_s


def test_neighbour_that_never_parks_does_not_hang_us(tmp_path: Path) -> None:
    path, time_ = made(tmp_path), Waiting()
    hung = FileGate(path)
    hung.step_boundary(SimulatedDevice())
    ours = FileGate(path, sleep=time_.sleep, now=time_.now)
    assert not ours.close()
    assert time_.now_s == pytest.approx(gates.CLOSE_LIMIT_S, abs=0.1)
    ours.open()
    hung.step_boundary(SimulatedDevice())
    assert hung.waited_s < 1.0


def test_whoever_holds_the_gate_for_ever_costs_a_bounded_share_of_time(tmp_path: Path) -> None:
    path, time_ = made(tmp_path), Waiting()
    hoarder = FileGate(path)
    ours = FileGate(path, sleep=time_.sleep, now=time_.now)
    ours.step_boundary(SimulatedDevice())
    threading.Thread(target=hoarder.close, daemon=True).start()
    until(lambda: not ours._turn.is_free(), "the hoarder has the turn")
    for _ in range(3000):
        ours.step_boundary(SimulatedDevice())
        time_.now_s += 0.1
    assert ours.waited_s < gates.PARK_LIMIT_S + gates.PARK_SHARE * time_.now_s + 0.1
    assert time_.now_s < (300 + gates.PARK_LIMIT_S) / (1 - gates.PARK_SHARE) + 1
    hoarder.open()


def test_killed_holder_does_not_leave_the_gate_closed(tmp_path: Path) -> None:
    path = made(tmp_path)
    program = "import sys, pathlib; from swarm.harness.gate import FileGate; gate = FileGate(pathlib.Path(sys.argv[1]))"
    holder = subprocess.Popen(
        [sys.executable, "-c", f"{program}; gate.close(); print(flush=True); input()", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    time_ = Waiting()
    ours = FileGate(path, sleep=time_.sleep, now=time_.now)
    ours.step_boundary(SimulatedDevice())
    assert ours.waited_s >= gates.PARK_LIMIT_S, "the holder has it"
    holder.kill()
    holder.communicate()
    waited_s = ours.waited_s
    ours.step_boundary(SimulatedDevice())
    assert ours.close()
    assert ours.waited_s == waited_s
