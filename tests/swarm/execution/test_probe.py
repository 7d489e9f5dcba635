"""The probe before a first training: three real steps in a sandboxed process, and what a failing one costs."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from factories.records import study_opened
from factories.settings import run_settings
from fakes.tiny_study import TRAIN, TinyStudy, make_tiny_study

import swarm.execution.runner
from swarm.admission import AdmissionController, Request, status
from swarm.admission.ledger.history import load_history
from swarm.admission.ticket import Ticket
from swarm.brain import Brain
from swarm.clock import SystemClock
from swarm.errors import TrialLost
from swarm.execution import phases
from swarm.execution.local import LocalExecutor
from swarm.execution.memory import FIRST_HOST_RAM_MIB
from swarm.execution.runner import Interruption, TrialRunner
from swarm.gpu import CpuProbe
from swarm.records import FailReason, Operator, ProposalClaimed, Resources, TrialFinished
from swarm.repo import Repo, trial_ref
from swarm.study.settings import RunSettings
from swarm.study.state import StudyState, Trial
from swarm.supervisor import Zygote, kill_leftovers
from swarm.trial.contract import code_root, harness_sha256
from swarm.trial.folder import TrialFolder

STUDY = "probed"
PROFILE_MIB = 1200
ONLY_IN_THE_PROBE = """
def main() -> None:
    from swarm.harness import session
    if type(session.current()).__name__ == "ProbeSession":
        {what}
    train_as_usual()
"""


def misbehaving(what: str) -> str:
    """The tiny program, which does something else first when it is only probed."""
    return TRAIN.replace("def main()", "def train_as_usual()") + ONLY_IN_THE_PROBE.format(what=what)


@dataclass
class Bench:
    """A study with one worker's runner in this process, and real trainings."""

    tiny: TinyStudy
    settings: RunSettings
    repo: Repo
    brain: Brain
    admission: AdmissionController
    executor: LocalExecutor
    trials: int = 0

    def claim(self, program: str, parent: Trial | None = None, **more: object) -> tuple[Trial, str]:
        self.trials += 1
        ref = trial_ref(STUDY, f"t{self.trials:04}")
        commit = self.repo.commit_change(self.repo.head(), {"models/tiny/train.py": program}, "a program", ref)
        values = {
            "agent_id": "worker_1",
            "study_id": STUDY,
            "operator": Operator.TUNE if parent else Operator.BASELINE,
            "family": "optimiser",
            "parent": parent.trial_id if parent else None,
            "parent_tree_sha256": parent.claim.tree_sha256 if parent else None,
            "tree_sha256": commit,  # any name that is the code's own
            "seed": 1,
            "read_seq": 0,
            "proposer": "scripted",
        }
        (written,) = self.brain.append(ProposalClaimed.model_validate({**values, **more}))
        assert isinstance(written, ProposalClaimed)
        return self.study.trials[written.trial_id], commit

    def run(self, program: str, parent: Trial | None = None, **more: object) -> TrialFinished:
        trial, commit = self.claim(program, parent, **more)
        self.runner().run(trial, commit)
        return self.ending(trial)

    def runner(self) -> TrialRunner:
        calm = Interruption(stop_reason=lambda: None, leave=lambda: False)
        return TrialRunner(self.settings, "worker_1", self.brain, self.files, self.executor, calm, SystemClock())

    def files(self, commit: str) -> dict[str, bytes]:
        return self.repo.files(commit, "models/tiny")

    def ending(self, trial: Trial) -> TrialFinished:
        finished = self.study.trials[trial.trial_id].finished
        assert finished is not None
        return finished

    @property
    def study(self) -> StudyState:
        return self.brain.snapshot().studies[STUDY]

    @property
    def trial_folders(self) -> list[str]:
        return sorted(path.name for path in (self.tiny.root / ".swarm" / "trials" / STUDY).iterdir())


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = (str(code_root()),)
    started = Zygote.start("swarm.harness.preload", tmp_path_factory.mktemp("zygote") / "zygote.sock", pythonpath=path)
    yield started.socket_path
    started.stop()


@pytest.fixture(scope="module")
def data() -> Path:
    from swarm.harness.prepare import prepare

    return prepare("standin").layout.root


@pytest.fixture
def bench(tmp_path: Path, zygote: Path, data: Path) -> Bench:
    tiny = make_tiny_study(tmp_path)
    repo = Repo.open(tiny.root)
    settings = run_settings(
        tiny.root, study_id=STUDY, base_commit=repo.head(), data_dir=data, memory_mib=PROFILE_MIB, seed=1,
        harness_sha256=harness_sha256(),
    )  # fmt: skip
    brain = Brain(tiny.brain)
    brain.append(study_opened(study_id=STUDY, base_commit=repo.head(), budget=settings.budget, workers=1))
    admission = AdmissionController(tiny.ledger, CpuProbe(), SystemClock())
    executor = LocalExecutor(settings.layout.trials(STUDY), data, admission, SystemClock(), zygote=zygote)
    return Bench(tiny, settings, repo, brain, admission, executor)


def resources(finished: TrialFinished) -> Resources:
    assert finished.resources is not None, finished.detail
    return finished.resources


def test_three_steps_foretell_the_peak_of_the_training(bench: Bench) -> None:
    first = bench.run(TRAIN)
    used = resources(first)
    assert first.score is not None
    assert used.probe_s is not None and used.reserved_by == "probe"
    assert used.peak_mib is not None and used.reservation_mib is not None
    assert used.peak_mib <= used.reservation_mib < PROFILE_MIB
    assert used.predicted_mib is not None and used.predicted_mib <= used.reservation_mib
    assert bench.trial_folders == [first.trial_id], "a probe leaves nothing"
    again = resources(bench.run(TRAIN.replace("MAX_LR = 0.05", "MAX_LR = 0.1"), bench.study.trials[first.trial_id]))
    assert (again.probe_s, again.reserved_by) == (None, "parents")


def test_ram_is_asked_for_as_the_study_has_held_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner of a trial on a GPU; the training itself is on the CPU here."""
    asked: list[int] = []
    request = bench.admission.request

    def seen(demand: Request) -> Ticket:
        asked.append(demand.host_ram_mib)
        return request(demand)

    monkeypatch.setattr(bench.admission, "request", seen)
    bench.settings = bench.settings.model_copy(update={"device": "cuda"})
    first = bench.run(TRAIN)
    held = resources(first).host_peak_mib
    assert held is not None and held > 100
    bench.run(TRAIN.replace("MAX_LR = 0.05", "MAX_LR = 0.1"), bench.study.trials[first.trial_id])
    assert asked[0] == FIRST_HOST_RAM_MIB and asked[-1] == math.ceil(1.25 * held)


def test_a_probe_holds_a_lease_is_confined_like_a_training_and_teaches_nothing(bench: Bench) -> None:
    trial, commit = bench.claim(TRAIN)
    runner, seen = bench.runner(), []

    def look() -> bool:
        if (folder := TrialFolder(bench.settings.layout.trials(STUDY) / f"{trial.trial_id}.probe")).spec.exists():
            (device,) = status(bench.tiny.ledger, CpuProbe()).devices
            seen.append(([holder.trial_id for holder in device.holders], json.loads(folder.spec.read_text())))
        return False

    runner._interruption = Interruption(stop_reason=lambda: None, leave=look)
    runner.run(trial, commit)
    holders, spec = seen[0]
    assert holders == [trial.trial_id]
    (probe,) = spec["phases"]
    trained = json.loads(bench.settings.layout.trial(STUDY, trial.trial_id).spec.read_text())
    assert (probe["name"], probe["trusted"], spec["sandbox"]) == ("probe", False, trained["sandbox"])
    inside = [path.replace(".probe", "") for path in (*probe["read"], *probe["write"])]
    assert inside == [*trained["phases"][0]["read"], *trained["phases"][0]["write"]]
    lessons = load_history(bench.tiny.ledger / "history.jsonl").records
    assert [lesson.source for lesson in lessons] == ["probe"], "one lesson, from the training"


def test_out_of_memory_in_the_probe_gives_the_training_more(bench: Bench) -> None:
    first = bench.run(misbehaving("raise MemoryError('too much')"))
    used = resources(first)
    assert first.score is not None
    assert first.attempts == 1
    assert used.reservation_mib == 2112, "1.5 times the 1408 MiB of the probe"
    assert used.reserved_by == "given"


def test_a_training_that_does_not_fit_its_first_reservation_is_spared_the_attempt(bench: Bench) -> None:
    """A real allocation, which the kernel refuses to the probe and grants to the training."""
    held = "    import torch\n    kept = torch.empty(2_600 << 20, dtype=torch.uint8)  # mapped, never touched\n"
    hungry = TRAIN.replace("    train = data.train()", f"{held}    train = data.train()")
    first = bench.run(hungry)
    assert (first.score is not None, first.attempts) == (True, 1), first.detail


def test_a_probe_that_hangs_is_killed_and_the_training_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "PROBE_WALLTIME_S", 3.0)
    first = bench.run(misbehaving("import time; time.sleep(600)"))
    used = resources(first)
    assert first.score is not None
    assert used.reserved_by == "profile" and used.reservation_mib == 1408
    assert used.probe_s is not None and 3.0 <= used.probe_s < 3.0 + 8.0


@pytest.mark.parametrize(
    "what",
    [
        "raise ValueError('no')",
        "import os; os.kill(os.getpid(), 9)",
        "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True); raise ValueError",
        "return",
    ],
)
def test_a_probe_that_fails_costs_its_time_and_nothing_else(bench: Bench, what: str) -> None:
    first = bench.run(misbehaving(what))
    assert first.score is not None
    assert resources(first).reserved_by == "profile"
    assert bench.trial_folders == [first.trial_id]
    assert kill_leftovers(bench.settings.layout.trial(STUDY, f"{first.trial_id}.probe").root) == []
    assert bench.tiny.held_leases() == []


def test_a_probe_whose_supervisor_dies_is_no_lost_trial(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise TrialLost("the supervisor died")

    monkeypatch.setattr("swarm.execution.local_trial.read_probe", die)
    first = bench.run(TRAIN)
    assert first.score is not None and resources(first).reserved_by == "profile"


def test_a_stop_ends_the_probe_and_then_the_trial(bench: Bench) -> None:
    trial, commit = bench.claim(misbehaving("import time; time.sleep(600)"))
    runner = bench.runner()
    began = time.monotonic()
    runner._interruption = Interruption(
        stop_reason=lambda: "stopped by the user" if time.monotonic() > began + 1 else None, leave=lambda: False
    )
    runner.run(trial, commit)
    assert bench.ending(trial).reason is FailReason.ABANDONED
    assert time.monotonic() - began < 30
    assert bench.tiny.held_leases() == []


def test_an_adopted_training_teaches_as_one_of_our_own(bench: Bench) -> None:
    """Its worker died: another process finds it, collects it, and the predictor learns from it."""
    trial, commit = bench.claim(TRAIN)
    runner = bench.runner()
    asked: list[float] = []

    def leave() -> bool:
        asked.append(time.monotonic())
        return bench.settings.layout.trial(STUDY, trial.trial_id).supervisor.exists()

    runner._interruption = Interruption(stop_reason=lambda: None, leave=leave)
    with pytest.raises(swarm.execution.runner.Walkaway):
        runner.run(trial, commit)
    bench.runner().settle(bench.study.trials[trial.trial_id], commit)
    finished = bench.ending(trial)
    assert finished.score is not None, finished.detail
    (lesson,) = load_history(bench.tiny.ledger / "history.jsonl").records
    assert (lesson.code_sha256, lesson.peak_mib) == (trial.claim.tree_sha256, resources(finished).peak_mib)
    assert not lesson.too_small
