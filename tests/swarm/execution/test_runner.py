"""A trial's records, from the order to the verdict: over a scripted executor, with no process and no sleep."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from factories.records import study_opened
from factories.settings import run_settings
from fakes.fake_clock import FakeClock
from fakes.scripted_executor import LOSS, RUNG_LOSS, STEPS, ScriptedExecutor, World

from swarm.brain import Brain
from swarm.execution.runner import Interruption, TrialRunner, Walkaway
from swarm.records import (
    Budget,
    FailReason,
    Operator,
    ProposalClaimed,
    TrialFinished,
    TrialStarted,
    WorkerStatus,
    parse_record,
)
from swarm.study.state import StudyState, Trial
from swarm.trial.contract import harness_sha256
from swarm.verdict import early_stop
from swarm.verdict.early_stop import Look

STUDY = "s"
BUDGET = Budget(kind="samples", amount=100, walltime_limit_s=60)


class Bench:
    def __init__(self, folder: Path) -> None:
        self.brain = Brain(folder / "swarm_brain.jsonl")
        self.world = World()
        self.clock = FakeClock()
        self.scripts: dict[str, str] = {}
        self.stop_reason: Callable[[], str | None] = lambda: None
        self.leave: Callable[[], bool] = lambda: False
        self.settings = run_settings(
            folder, study_id=STUDY, base_commit="c0", budget=BUDGET, noise_replicates=2, harness_sha256=harness_sha256()
        )
        self.brain.append(study_opened(study_id=STUDY, base_commit="c0", budget=BUDGET, workers=1))

    def claim(self, script: str, parent: Trial | None = None) -> Trial:
        number = len(self.study.trials) + 1
        (written,) = self.brain.append(
            ProposalClaimed(
                agent_id="worker_1",
                study_id=STUDY,
                description=f"change {number}",
                operator=Operator.TUNE if parent else Operator.BASELINE,
                family="optimiser",
                parent=parent.trial_id if parent else None,
                program="" if parent or number == 1 else "t0001",
                tree_sha256=f"tree {number}",
                seed=number,
                read_seq=0,
                proposer="scripted",
            )
        )
        assert isinstance(written, ProposalClaimed)
        self.scripts[f"c{number}"] = script
        return self.study.trials[written.trial_id]

    def runner(self) -> TrialRunner:
        """As one process has it; all of a test share the world that the trials run in."""
        interruption = Interruption(self.stop_reason, self.leave)
        executor = ScriptedExecutor(self.world)
        return TrialRunner(self.settings, "worker_1", self.brain, self.files, executor, interruption, self.clock)

    def files(self, commit: str) -> dict[str, bytes]:
        return {"train.py": self.scripts[commit].encode()}

    def run(self, script: str) -> Trial:
        trial = self.claim(script)
        self.runner().run(trial, f"c{len(self.study.trials)}")
        return self.study.trials[trial.trial_id]

    @property
    def study(self) -> StudyState:
        return self.brain.snapshot().studies[STUDY]

    def records(self, kind: type) -> list[object]:
        lines = (self.settings.brain).read_text().splitlines()
        return [record for line in lines if isinstance(record := parse_record(json.loads(line)), kind)]

    def statuses(self) -> list[str]:
        return [record.status for record in self.records(WorkerStatus) if isinstance(record, WorkerStatus)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def ending(trial: Trial) -> TrialFinished:
    assert trial.finished is not None
    return trial.finished


def test_a_trial_is_told_from_the_queue_to_its_score(bench: Bench) -> None:
    trial = bench.run("scores")
    assert bench.statuses() == ["waiting", "training"]
    assert trial.started is not None and (trial.started.commit, trial.started.attempt) == ("c1", 1)
    finished = ending(trial)
    assert (finished.validation_loss, finished.commit, finished.seed) == (LOSS, "c1", 1)
    assert finished.rungs == tuple((rung, RUNG_LOSS) for rung in early_stop.RUNGS)
    assert finished.harness_sha256 == harness_sha256()


@pytest.mark.parametrize(
    ("script", "reason"),
    [("crashes", FailReason.CRASHED), ("diverges", FailReason.DIVERGED), ("lacks_memory", FailReason.INFEASIBLE)],
)
def test_a_failure_has_its_reason_and_no_loss(bench: Bench, script: str, reason: FailReason) -> None:
    finished = ending(bench.run(script))
    assert (finished.reason, finished.validation_loss, finished.score) == (reason, None, None)
    assert finished.detail != ""


def test_each_attempt_is_a_start_and_the_trial_has_one_end(bench: Bench) -> None:
    trial = bench.run("lacks_memory_once")
    started = [record for record in bench.records(TrialStarted) if isinstance(record, TrialStarted)]
    assert [record.attempt for record in started] == [1, 2]
    assert started[1].reservation_mib > started[0].reservation_mib
    assert ending(trial).attempts == 2 and len(bench.records(TrialFinished)) == 1


def test_a_trial_that_was_over_before_anybody_looked_has_started(bench: Bench) -> None:
    trial = bench.run("crashes_at_once")
    assert trial.started is not None and trial.started.seq < ending(trial).seq
    assert bench.statuses() == ["waiting"]


def test_a_person_stops_a_trial_and_it_is_recorded(bench: Bench) -> None:
    bench.stop_reason = lambda: "stopped by the user" if "training" in bench.statuses() else None
    finished = ending(bench.run("hangs"))
    assert (finished.reason, finished.detail) == (FailReason.ABANDONED, "stopped by the user")


def left_running(bench: Bench, script: str) -> Trial:
    """Its worker has walked away, as when its orchestrator is gone."""
    trial = bench.claim(script)
    bench.leave = lambda: "training" in bench.statuses()
    with pytest.raises(Walkaway):
        bench.runner().run(trial, "c1")
    bench.leave = lambda: False
    assert bench.study.trials[trial.trial_id].finished is None
    return bench.study.trials[trial.trial_id]


def test_a_trial_that_was_left_is_adopted_and_started_once(bench: Bench) -> None:
    trial = left_running(bench, "scores")
    bench.runner().settle(trial, "c1")
    assert ending(bench.study.trials[trial.trial_id]).score is not None
    assert len(bench.records(TrialStarted)) == 1, "its start stands in the brain already"


def test_a_trial_that_was_left_and_then_lost_runs_again(bench: Bench) -> None:
    trial = left_running(bench, "scores")
    bench.world.trials.clear()
    bench.runner().settle(trial, "c1")
    assert ending(bench.study.trials[trial.trial_id]).score is not None


def test_a_trial_whose_program_was_never_committed_is_given_up(bench: Bench) -> None:
    trial = bench.claim("scores")
    bench.runner().settle(trial, None)
    finished = ending(bench.study.trials[trial.trial_id])
    assert (finished.reason, finished.commit) == (FailReason.ABANDONED, None)


def test_an_ending_that_is_sent_twice_counts_once(bench: Bench) -> None:
    trial = bench.run("scores")
    bench.runner().settle(trial, "c1")
    assert len(bench.records(TrialFinished)) == 1


def judged_as(action: str, seen: list[float]) -> Callable[..., Look]:
    def look(study: StudyState, trial_id: str, progress: float, loss: float) -> Look:
        assert (trial_id, loss) == ("t0001", RUNG_LOSS)
        seen.append(progress)
        return Look(action, 0.01, "hopeless")  # type: ignore[arg-type]

    return look


@pytest.mark.parametrize("early", [True, False])
def test_early_stopping_looks_at_each_rung_once(bench: Bench, monkeypatch: pytest.MonkeyPatch, early: bool) -> None:
    seen: list[float] = []
    monkeypatch.setattr(early_stop, "look", judged_as("go_on", seen))
    bench.settings = bench.settings.model_copy(update={"early_stop": early})
    assert ending(bench.run("scores")).score is not None
    assert seen == (list(early_stop.RUNGS) if early else [])


def test_a_hopeless_trial_is_pruned_at_its_first_rung(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    monkeypatch.setattr(early_stop, "look", judged_as("stop", seen))
    finished = ending(bench.run("hangs"))
    assert (finished.reason, finished.detail) == (FailReason.PRUNED, "pruned at 25% of the budget: hopeless")
    assert seen == [0.25] and not finished.audit


def test_an_audited_trial_runs_to_its_end_and_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(("audit", "stop"))
    monkeypatch.setattr(early_stop, "look", lambda *_: Look(next(answers), 0.01, "hopeless"))  # type: ignore[arg-type]
    finished = ending(bench.run("scores"))
    assert finished.score is not None and finished.audit


def test_weights_are_dropped_with_the_verdict_and_kept_without(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for loss in (LOSS, LOSS + 0.01):
        monkeypatch.setattr("fakes.scripted_executor.LOSS", loss)
        bench.run("scores")
    assert bench.world.weights == {"t0001", "t0002"}
    worse = bench.claim("scores", parent=bench.study.trials["t0001"])
    monkeypatch.setattr("fakes.scripted_executor.LOSS", LOSS + 5)
    bench.runner().run(worse, "c3")
    assert bench.study.trials[worse.trial_id].cost == LOSS + 5
    assert worse.trial_id not in bench.world.weights
    assert bench.world.weights == {"t0001", "t0002"}


def test_time_passes_only_between_looks(bench: Bench) -> None:
    bench.run("scores")
    assert bench.clock.monotonic() == pytest.approx(0.1 * (STEPS + 1))
