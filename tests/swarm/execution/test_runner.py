"""A trial's records, from the order to the verdict: over a scripted executor, with no process and no sleep."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from factories.records import study_opened
from factories.settings import run_settings
from fakes.every_exception import every_exception, raising
from fakes.fake_clock import FakeClock
from fakes.scripted_executor import LOSS, RUNG_LOSS, STEPS, ScriptedExecutor, ScriptedTrial, World

from swarm.brain import Brain
from swarm.errors import BrainReplaced, DiskFull
from swarm.execution.executor import Outcome
from swarm.execution.runner import Interruption, TrialRunner, Walkaway
from swarm.records import (
    MAX_LINE_BYTES,
    Budget,
    FailReason,
    Operator,
    ProposalClaimed,
    Resources,
    Score,
    TrialFinished,
    TrialStarted,
    TrialState,
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
            folder,
            early_stop=True,
            study_id=STUDY,
            base_commit="c0",
            budget=BUDGET,
            noise_replicates=2,
            harness_sha256=harness_sha256(),
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


BREAKS = ("submit", "adopt", "poll", "order", "look", "commit")


def break_at(step: str, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    match step:
        case "submit" | "adopt":
            monkeypatch.setattr(ScriptedExecutor, step, raising(error))
        case "poll":
            monkeypatch.setattr(ScriptedTrial, "poll", raising(error))
        case "order":
            monkeypatch.setattr("swarm.execution.runner.evidence_of", raising(error))
        case "look":
            monkeypatch.setattr(early_stop, "look", raising(error))
        case "commit":
            monkeypatch.setattr(Bench, "files", raising(error))


@pytest.mark.parametrize("step", BREAKS)
def test_whatever_breaks_a_trial_ends_it_with_a_record_and_the_next_one_runs(
    bench: Bench, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in every_exception()[:: 1 if step == "poll" else 9]:
        trial = bench.claim("scores")
        commit = f"c{len(bench.study.trials)}"
        with monkeypatch.context() as broken:
            break_at(step, error, broken)
            if step == "adopt":
                bench.runner().settle(trial, commit)
            else:
                bench.runner().run(trial, commit)
        finished = ending(bench.study.trials[trial.trial_id])
        assert finished.reason is FailReason.ABANDONED and type(error).__name__ in finished.detail
        bench.world.trials.clear()
    assert ending(bench.run("scores")).score is not None
    assert len(bench.records(TrialFinished)) == len(bench.study.trials)


def test_a_trial_that_nobody_can_follow_is_stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_stop, "look", raising(ZeroDivisionError("x")))
    trial = bench.run("hangs")
    assert "ZeroDivisionError: x" in ending(trial).detail
    stopped = bench.world.trials[trial.trial_id].poll()
    assert isinstance(stopped, Outcome) and "ZeroDivisionError" in stopped.detail


def test_between_trials_that_break_the_pause_grows_and_one_that_ends_takes_it_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, pauses = bench.runner(), []
    for broken in (True, True, True, False, True, *[True] * 5):
        trial, began = bench.claim("crashes_at_once"), bench.clock.monotonic()
        with monkeypatch.context() as patch:
            if broken:
                patch.setattr(ScriptedExecutor, "submit", raising(OSError(28, "No space left on device")))
            runner.run(trial, f"c{len(bench.study.trials)}")
        pauses.append(round(bench.clock.monotonic() - began))
    assert pauses == [1, 2, 4, 0, 1, 2, 4, 8, 16, 30]


def test_the_pause_ends_with_the_study(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptedExecutor, "submit", raising(OSError(28, "No space left on device")))
    for interruption in ("stop_reason", "leave"):
        setattr(bench, interruption, lambda: "stopped")
        began = bench.clock.monotonic()
        bench.run("scores")
        assert bench.clock.monotonic() == began


def test_a_failing_verdict_costs_no_result(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in every_exception()[::9]:
        with monkeypatch.context() as broken:
            broken.setattr("swarm.verdict.conclude", raising(error))
            broken.setattr("swarm.verdict.stale", raising(error))
            assert ending(bench.run("scores")).validation_loss == LOSS
        note = bench.study.notes[-1]
        assert note.topic == "trouble" and type(error).__name__ in note.detail


MANY = {f"x{n}": 1.0 for n in range(4000)}
HOSTILE_OUTCOMES = [
    Outcome(reason=FailReason.CRASHED, detail="\ud7ff\x1b[31m" * 4000),
    Outcome(reason=FailReason.CRASHED, detail="\u00e4\\" * 9000, flags=tuple("f" * 3000 for _ in range(50))),
    Outcome(reason=FailReason.CRASHED, curve=tuple((0.123456789 + n, 1e-300) for n in range(5000))),
    Outcome(reason=FailReason.CRASHED, resources=Resources(device="d" * 50_000, overhead_s=MANY)),
    Outcome(reason=FailReason.CRASHED, resources=Resources(device="cpu", steps=10**4200, training_s=math.inf)),
    Outcome(score=Score(validation_loss=math.nan, top1=0, top5=0, calibrated_loss=0, rows=1)),
    Outcome(),
    Outcome(reason=FailReason.CRASHED, sandbox="s" * 40_000, rungs=tuple((0.5, 1.0) for _ in range(9000))),
    Outcome(reason=FailReason.CRASHED).model_copy(update={"detail": "\ud800" * 9, "flags": ("\ud800",)}),
]


@pytest.mark.parametrize("outcome", HOSTILE_OUTCOMES)
def test_an_outcome_of_any_size_and_shape_gets_its_record(
    bench: Bench, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as odd:
        odd.setattr(ScriptedTrial, "poll", lambda self: outcome)
        finished = ending(bench.run("scores"))
    assert finished.state is TrialState.FAILED and finished.reason is not None
    assert bench.brain.skipped == ()
    assert max(map(len, bench.settings.brain.read_bytes().splitlines())) < MAX_LINE_BYTES
    assert ending(bench.run("scores")).score is not None


def test_only_the_brain_fails_the_worker(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = bench.claim("scores")
    for error in (BrainReplaced("gone"), KeyboardInterrupt()):
        monkeypatch.setattr(ScriptedExecutor, "submit", raising(error))
        with pytest.raises(type(error)):
            bench.runner().run(trial, "c1")
        assert bench.study.trials[trial.trial_id].finished is None


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
    running = bench.world.trials[trial.trial_id]
    bench.runner().settle(trial, "c1")
    assert bench.world.trials[trial.trial_id] is running, "it was not run a second time"
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
    def look(study: StudyState, trial_id: str, progress: float, loss: float, earlier: list[StudyState]) -> Look:
        assert (trial_id, loss) == ("t0001", RUNG_LOSS) and study in earlier
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
    assert (finished.reason, finished.detail) == (FailReason.PRUNED, "pruned at 50% of the budget: hopeless")
    assert seen == [0.5] and not finished.audit


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


def test_a_trial_that_broke_on_a_full_disk_is_forgotten_and_runs_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [0]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free[0]))
    trial = bench.claim("crashes")
    folder = bench.settings.layout.trial(STUDY, trial.trial_id).root
    folder.mkdir(parents=True)
    with pytest.raises(DiskFull, match=r"is full: 0.0 MiB are free"):
        bench.runner().run(trial, "c1")
    assert trial.finished is None and not folder.exists()
    free[0] = 10**9
    bench.runner().run(trial, "c1")
    assert ending(trial).reason is FailReason.CRASHED, "with room it is the program's own fault"


def test_a_trial_that_filled_the_disk_itself_has_crashed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = bench.claim("crashes")
    folder = bench.settings.layout.trial(STUDY, trial.trial_id).root
    folder.mkdir(parents=True)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0 if folder.exists() else 10**9))
    bench.runner().run(trial, "c1")
    assert ending(trial).reason is FailReason.CRASHED
