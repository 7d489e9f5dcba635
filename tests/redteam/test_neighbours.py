"""What a hostile trial takes from an honest one beside it: less than 5 % of what the honest one's result depends on.

A result on a CPU depends on CPU time a step. An honest neighbour costs some of it too, through shared caches; so each
attack is measured against an honest companion, in turn. Wall time is shown and not promised. `make redteam`.
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.redteam_programs.build import SLOW
from fakes.redteam_programs.power import SLOWING
from fakes.tiny_study import make_tiny_study
from judge import Line

from swarm.admission import AdmissionController
from swarm.clock import SystemClock
from swarm.execution.executor import MemoryEvidence, Progress, RunningTrial, TrialOrder
from swarm.execution.local import LocalExecutor
from swarm.gpu import detect_probe
from swarm.harness.prepare import prepare
from swarm.records import Budget
from swarm.supervisor import Zygote, kill_leftovers, proc
from swarm.trial.contract import code_root, harness_sha256
from swarm.trial.files import read_json
from swarm.trial.folder import TrialFolder
from swarm.trial.heartbeat import read_beat

LIMIT = 1.05
UNDIVIDED = {"thrashes_memory": 1.4}  # the memory bus, which nobody divides: docs/decisions/0046-the-memory-bus.md
WINDOW_S, SETTLE_S, ATTACK_S = 2.0, 0.8, 30.0
PAIRS, MOST_PAIRS = 3, 9
STUDY = "neighbours"

pytestmark = [pytest.mark.redteam, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Pace:
    """Seconds a step of the honest trial took: CPU time of all its threads, and by the clock on the wall."""

    cpu_s: float
    wall_s: float


class Street:
    """Two trials of one study on this machine: an honest one that goes on and on, and what comes beside it."""

    def __init__(self, folder: Path, zygote: Path) -> None:
        self._trials = folder / "trials"
        admission = AdmissionController(folder / "ledger", detect_probe("cpu"), SystemClock())
        self._executor = LocalExecutor(
            self._trials, prepare("standin").layout.root, admission, SystemClock(), zygote=zygote
        )
        self._count = 0
        first = self.begin(SLOW, samples=500, alone=True)  # what a trial needs is known from here on
        while isinstance(first.poll(), Progress):
            time.sleep(0.02)
        self._honest = self.begin(SLOW, samples=10_000_000)
        self._folder = TrialFolder(self._trials / f"t{self._count:04}")
        self._until_training(self._honest, self._folder)
        self._process = self._busiest()

    def begin(self, source: str, *, samples: int, alone: bool = False) -> RunningTrial:
        self._count += 1
        order = TrialOrder(
            study_id=STUDY,
            trial_id=f"t{self._count:04}",
            agent_id="worker_1",
            target="tiny",
            files={"train.py": source.encode()},
            editable="train.py",
            seed=1,
            budget=Budget(kind="samples", amount=samples, walltime_limit_s=3600),
            device="cpu",
            threads=1,
            alone=alone,
            harness_sha256=harness_sha256(),
            memory=MemoryEvidence(code_sha256="neighbour", profile_mib=1200),
        )
        return self._executor.submit(order)

    @contextmanager
    def beside(self, source: str) -> Iterator[None]:
        companion = self.begin(source, samples=10_000_000)
        folder = TrialFolder(self._trials / f"t{self._count:04}")
        deadline = time.monotonic() + 20
        while not folder.supervisor.exists() and time.monotonic() < deadline:
            self._poll(companion)
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until:
            self._poll(companion)
        yield
        companion.stop("it was looked at")
        while isinstance(companion.poll(), Progress):
            self._honest.poll()
            time.sleep(0.01)
        kill_leftovers(folder.root)

    def pace(self) -> Pace:
        """Over a window, from step to step: a step that lies half in the window counts with its share of time only."""
        first, cpu, wall = self._beat(), self._cpu_s(), time.monotonic()
        time.sleep(WINDOW_S)
        last, cpu_s, wall_s = self._beat(), self._cpu_s() - cpu, time.monotonic() - wall
        assert last > first, "the honest trial stands still"
        return Pace(cpu_s / (last - first), wall_s / (last - first))

    def close(self) -> None:
        self._honest.stop("the tests are over")
        while isinstance(self._honest.poll(), Progress):
            time.sleep(0.02)

    def _poll(self, companion: RunningTrial) -> None:
        companion.poll()
        assert isinstance(self._honest.poll(), Progress), "the honest trial has ended"
        time.sleep(0.01)

    def _until_training(self, trial: RunningTrial, folder: TrialFolder) -> None:
        deadline = time.monotonic() + 60
        while (beat := read_beat(folder.heartbeat)) is None or beat.step < 5:
            assert isinstance(answer := trial.poll(), Progress), answer
            assert time.monotonic() < deadline, "the honest trial does not begin"
            time.sleep(0.02)

    def _busiest(self) -> int:
        supervisor = (read_json(self._folder.supervisor) or {})["pid"]
        assert isinstance(supervisor, int)
        return max(proc.descendants(supervisor), key=lambda process: process.cpu_seconds).pid

    def _beat(self) -> float:
        beat = read_beat(self._folder.heartbeat)
        assert beat is not None
        return beat.step

    def _cpu_s(self) -> float:
        total = 0
        for task in Path(f"/proc/{self._process}/task").iterdir():
            with suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    folder = tmp_path_factory.mktemp("neighbours")
    make_tiny_study(folder)
    zygote = Zygote.start("swarm.harness.preload", folder / "zygote.sock", pythonpath=(str(code_root()),))
    found = Street(folder, zygote.socket_path)
    yield found
    found.close()
    zygote.stop()


@pytest.mark.parametrize("name", SLOWING)
def test_an_honest_neighbour_keeps_its_pace(street: Street, table, name: str) -> None:
    limit = UNDIVIDED.get(name, LIMIT)
    attack = SLOWING[name].replace("SECONDS", str(ATTACK_S))
    cpu: list[float] = []
    wall: list[float] = []
    while len(cpu) < PAIRS or (statistics.median(cpu) > limit and len(cpu) < MOST_PAIRS):
        pair = (SLOW, attack) if len(cpu) % 2 == 0 else (attack, SLOW)
        paces = {}
        for source in pair:
            with street.beside(source):
                paces[source] = street.pace()
        cpu.append(paces[attack].cpu_s / paces[SLOW].cpu_s)
        wall.append(paces[attack].wall_s / paces[SLOW].wall_s)
    slower = statistics.median(cpu)
    shown = " ".join(f"{ratio - 1:+.1%}" for ratio in cpu)
    words = f"wall {statistics.median(wall) - 1:+.1%}"
    problem = (f"slows its neighbour by {slower - 1:.1%}: {shown}",) if slower > limit else ()
    table.add(Line(f"beside {name}", "neighbour", words, f"pairs {shown}", "-", f"cpu {slower - 1:+.1%}", 0.0, problem))
    assert problem == ()
