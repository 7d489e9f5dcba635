"""The orchestrator beside a real brain and repository, with workers that only pretend: no process, no waiting."""

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from factories.records import claim, finished, study_opened
from factories.settings import run_settings
from factories.studies import FakeStudy
from fakes.fake_clock import FakeClock
from fakes.git_repository import make_repository

from swarm.brain import Brain
from swarm.errors import BrainError, NoCardLeft, SwarmError, TrialError, UsageError
from swarm.orchestrator import orchestrator as module
from swarm.orchestrator.control import Control, read_control, write_control
from swarm.orchestrator.ending import STOP_GRACE_S
from swarm.orchestrator.orchestrator import POLL_S, Orchestrator
from swarm.orchestrator.settings_file import load_settings, save_settings
from swarm.orchestrator.worker_process import GIVEN_UP_IN_A_ROW, RESTART_WINDOW_S, RESTARTS_ALLOWED
from swarm.records import FailReason, Record, Steer
from swarm.repo import Repo
from swarm.study.settings import ProposerSettings, RunSettings
from swarm.study.state import StudyState
from swarm.trial.files import remove_tree
from swarm.verdict.plateau import FEWEST


@dataclass
class FakeProcess:
    """Ends with `code` after `life_s`, or with 0 as soon as `ends_when` says so; deaf to anything else but `kill`."""

    clock: FakeClock
    code: int = 0
    life_s: float = float("inf")
    ends_when: Callable[[], bool] = lambda: False
    pid: int = 4711
    started_at: float = field(init=False)
    returncode: int | None = None

    def __post_init__(self) -> None:
        self.started_at = self.clock.monotonic()

    def poll(self) -> int | None:
        if self.returncode is None and self.ends_when():
            self.returncode = 0
        if self.returncode is None and self.clock.monotonic() - self.started_at >= self.life_s:
            self.returncode = self.code
        return self.returncode

    def kill(self) -> None:
        self.returncode = -signal.SIGKILL

    def wait(self) -> int:
        assert self.returncode is not None
        return self.returncode


class Stage:
    """An orchestrator whose workers are `cast(agent_id)`, one call a start."""

    def __init__(self, tmp_path: Path, *, workers: int = 2, **fields: object) -> None:
        self.git = make_repository(tmp_path / "repo")
        self.repo = Repo.open(self.git.root)
        agents = {f"worker_{number + 1}": ProposerSettings() for number in range(workers)}
        self.settings = run_settings(
            self.git.root, target_folder="models/toy", base_commit=self.repo.head(), workers=workers, proposers=agents,
            start_up="spawn", **fields,
        )  # fmt: skip
        self.clock = FakeClock()
        self.brain = Brain(self.settings.brain, clock=self.clock)
        self.brain.append(study_opened(trials=self.settings.trials, deadline_at=self.settings.deadline_at))
        save_settings(self.settings)
        self.starts: list[tuple[str, float]] = []
        self.processes: list[FakeProcess] = []
        self.cast: Callable[[str], FakeProcess] = lambda agent_id: self.process(life_s=1.0)
        self.orchestrator = Orchestrator(self.settings, self.brain, self.repo, self.clock, self._start)

    def process(self, **fields: object) -> FakeProcess:
        return FakeProcess(self.clock, **fields)  # type: ignore[arg-type]

    def obedient(self, agent_id: str) -> FakeProcess:
        """Ends when it is told to, as workers do."""
        return self.process(ends_when=lambda: self.control is not Control.RUN)

    def run(self, tick: Callable[[], None] = lambda: None) -> str:
        return self.orchestrator.run(tick)

    def log(self, agent_id: str, text: str) -> None:
        path = self.settings.layout.worker_log(self.settings.study_id, agent_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def at(self, seconds: float, act: Callable[[], None]) -> Callable[[], None]:
        """A tick that acts once, so many seconds after the start."""
        due, done = self.clock.monotonic() + seconds, []

        def tick() -> None:
            if not done and self.clock.monotonic() >= due:
                done.append(True)
                act()

        return tick

    @property
    def control(self) -> Control:
        return read_control(self.settings.layout, self.settings.study_id)

    @property
    def study(self) -> StudyState:
        study = self.brain.snapshot().latest
        assert study is not None
        return study

    def _start(self, settings: RunSettings, agent_id: str) -> FakeProcess:
        self.starts.append((agent_id, self.clock.monotonic()))
        self.processes.append(self.cast(agent_id))
        return self.processes[-1]


def nothing_is_left(stage: Stage) -> None:
    assert all(process.returncode is not None for process in stage.processes)
    assert not list((stage.git.root / ".swarm" / "worktrees").glob("*"))
    assert len(stage.git.git("worktree", "list").splitlines()) == 1


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_each_worker_is_started_once_and_its_own_end_is_the_studys(stage: Stage) -> None:
    seen = []
    assert stage.run(lambda: seen.append(stage.clock.monotonic())) == "all trials done"
    assert [agent_id for agent_id, _ in stage.starts] == ["worker_1", "worker_2"]
    assert len(seen) >= 1 / POLL_S
    assert stage.study.closed is not None and stage.study.closed.reason == "all trials done"
    assert stage.study.restarts == {}
    nothing_is_left(stage)


def test_each_worker_has_a_worktree_while_the_study_runs(stage: Stage) -> None:
    worktrees = stage.git.root / ".swarm" / "worktrees"
    there: set[str] = set()
    stage.run(lambda: there.update(path.name for path in worktrees.iterdir()))
    assert there == {"worker_1", "worker_2"}
    nothing_is_left(stage)


def test_a_worker_that_dies_is_started_again_after_a_pause_that_doubles(tmp_path: Path) -> None:
    stage = Stage(tmp_path, workers=1)
    fates = iter([-signal.SIGKILL, 1, 1, 0])
    stage.cast = lambda agent_id: stage.process(code=next(fates), life_s=1.0)
    assert stage.run() == "all trials done"
    times = [at for _, at in stage.starts]
    pauses = [later - earlier - 1.0 for earlier, later in pairwise(times)]
    assert pauses == pytest.approx([1, 2, 4], abs=3 * POLL_S)
    assert stage.study.restarts == {"worker_1": 3}
    assert (stage.study.workers["worker_1"].status, stage.study.workers["worker_1"].pid) == ("restarted", 4711)


def test_workers_that_were_done_go_on_when_a_person_gives_more_trials(tmp_path: Path) -> None:
    stage = Stage(tmp_path, trials=5)
    lives = iter([1.0, 60.0, 1.0])
    stage.cast = lambda agent_id: stage.process(life_s=next(lives))
    more = Steer(study_id="fake-study", action="budget", subject="trials", value=9.0)
    assert stage.run(stage.at(20, lambda: stage.brain.append(more))) == "all trials done"
    assert [agent_id for agent_id, _ in stage.starts] == ["worker_1", "worker_2", "worker_1"]
    assert stage.study.restarts == {}, "it lost nothing, so it was not restarted"


def test_a_search_that_ends_at_a_plateau_leaves_the_evidence_in_the_record(tmp_path: Path) -> None:
    stage = Stage(tmp_path, workers=1, stop_at_plateau=True)
    own = FakeStudy()
    own.measure_noise()
    for _ in range(FEWEST):
        own.try_change(loss=2.6, parent="t0001")
    stage.brain.append(*(one.model_copy(update={"seq": 0, "prev": ""}) for one in own.records[1:]))
    stage.cast = lambda agent_id: stage.process(ends_when=lambda: stage.control is Control.FINALS)
    told = "60 of 60 proposals finished without a new leader, and none has ever led"
    assert stage.run() == f"ended early, at a plateau: {told}"
    assert [note.description for note in stage.study.notes if note.topic == "plateau"] == [told]
    assert stage.study.closed is not None and told in stage.study.closed.reason


def test_a_worker_that_keeps_dying_is_given_up_and_the_others_go_on(stage: Stage) -> None:
    stage.log("worker_1", "Traceback\nValueError: no luck\n")
    stage.cast = lambda agent_id: (
        stage.process(code=1, life_s=1.0) if agent_id == "worker_1" else stage.process(life_s=200.0)
    )
    assert stage.run() == "all trials done"
    assert [agent_id for agent_id, _ in stage.starts].count("worker_1") == RESTARTS_ALLOWED + 1
    last = stage.study.workers["worker_1"]
    assert last.status == "stopped"
    assert last.description == "worker_1 died 6 times in 600 s, given up: ValueError: no luck"


def test_deaths_that_lie_far_apart_are_forgiven_and_still_counted_as_restarts(tmp_path: Path) -> None:
    stage = Stage(tmp_path, workers=1)
    fates = iter([1] * (2 * RESTARTS_ALLOWED) + [0])
    stage.cast = lambda agent_id: stage.process(code=next(fates), life_s=RESTART_WINDOW_S + 1)
    assert stage.run() == "all trials done"
    assert stage.study.restarts == {"worker_1": 2 * RESTARTS_ALLOWED}


def end_a_trial(stage: Stage, loss: float | None, reason: FailReason = FailReason.CRASHED) -> None:
    name = stage.study.next_trial_id
    stage.brain.append(claim(name, study_id="fake-study", agent_id="worker_1"))
    ending = finished(name, loss, study_id="fake-study", agent_id="worker_1")
    stage.brain.append(ending if loss is not None else ending.model_copy(update={"reason": reason}))


def test_deaths_of_a_worker_that_ends_trials_in_between_are_forgiven(tmp_path: Path) -> None:
    """A program that takes its worker with it costs that trial and nothing else."""
    stage = Stage(tmp_path, workers=1)
    fates = iter([1] * (3 * RESTARTS_ALLOWED) + [0])

    def cast(agent_id: str) -> FakeProcess:
        end_a_trial(stage, None if len(stage.starts) % 2 else 2.0)
        return stage.process(code=next(fates), life_s=1.0)

    stage.cast = cast
    assert stage.run() == "all trials done"
    assert stage.study.restarts == {"worker_1": 3 * RESTARTS_ALLOWED}


def test_trials_given_up_one_after_the_other_are_no_progress(tmp_path: Path) -> None:
    stage = Stage(tmp_path, workers=1)

    def cast(agent_id: str) -> FakeProcess:
        end_a_trial(stage, None, FailReason.ABANDONED)
        return stage.process(code=1, life_s=1.0)

    stage.cast = cast
    with pytest.raises(SwarmError, match="no worker could go on"):
        stage.run()
    assert len(stage.starts) <= GIVEN_UP_IN_A_ROW + RESTARTS_ALLOWED + 2


def test_a_runtime_folder_that_is_deleted_is_made_anew(tmp_path: Path) -> None:
    stage = Stage(tmp_path, workers=1)
    stage.cast = lambda agent_id: stage.process(life_s=10.0)
    save_settings(stage.settings)
    runtime = stage.settings.layout.runtime
    assert stage.run(stage.at(2, lambda: remove_tree(runtime))) == "all trials done"
    assert load_settings(stage.settings.layout.settings(stage.settings.study_id)) == stage.settings
    assert "was deleted while the study ran" in stage.study.notes[-1].description


def test_a_warm_process_that_ended_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warm: list[object] = []

    class Warm:
        pid = 4711

        def __init__(self, *_: object, **__: object) -> None:
            warm.append(self)

        def alive(self) -> bool:
            return warm.index(self) > 0

        def stop(self) -> None:
            pass

    monkeypatch.setattr("swarm.orchestrator.orchestrator.Zygote.start", Warm)
    stage = Stage(tmp_path, workers=1)
    settings = stage.settings.model_copy(update={"start_up": "zygote"})
    Orchestrator(settings, stage.brain, stage.repo, stage.clock, stage._start).run(lambda: None)
    assert len(warm) == 2


def test_a_usage_error_would_be_as_wrong_the_next_time(stage: Stage) -> None:
    stage.log("worker_1", "worker_1: --model is missing\n")
    stage.cast = lambda agent_id: stage.process(code=UsageError.exit_code if agent_id == "worker_1" else 0, life_s=1.0)
    assert stage.run() == "all trials done"
    assert len(stage.starts) == 2
    assert stage.study.workers["worker_1"].description == (
        "worker_1 cannot work, given up: worker_1: --model is missing"
    )


def test_a_study_without_a_card_left_ends_with_one_message_and_without_restarts(stage: Stage) -> None:
    for worker in ("worker_1", "worker_2"):
        stage.log(worker, f"{worker}: no card is left: Fake 4090 (GPU-a) is lost\n")
    stage.cast = lambda agent_id: stage.process(code=NoCardLeft.exit_code, life_s=1.0)
    with pytest.raises(SwarmError, match=r"no worker could go on: worker_1: no card is left: Fake 4090 .GPU-a"):
        stage.run()
    assert len(stage.starts) == 2
    nothing_is_left(stage)


def test_a_study_without_a_worker_left_ends_with_the_last_words_of_the_first(stage: Stage) -> None:
    stage.log("worker_1", "worker_1: the disk is full\n")
    stage.cast = lambda agent_id: stage.process(code=UsageError.exit_code, life_s=1.0)
    with pytest.raises(SwarmError, match=r"no worker could go on: worker_1: the disk is full\. Its log: "):
        stage.run()
    assert stage.study.closed is not None and stage.study.closed.reason == "no worker could go on"
    nothing_is_left(stage)


def test_the_first_interrupt_drains(stage: Stage) -> None:
    stage.cast = stage.obedient
    assert stage.run(stage.at(5, lambda: os.kill(os.getpid(), signal.SIGINT))) == "drained by the user"
    assert stage.control is Control.DRAIN
    assert stage.orchestrator.interrupts.count == 1 and not stage.orchestrator.interrupts.at_once


@pytest.mark.parametrize("signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)])
def test_a_second_interrupt_or_a_sigterm_stops_at_once(stage: Stage, signals: tuple[signal.Signals, ...]) -> None:
    stage.cast = lambda agent_id: stage.process(code=1, ends_when=lambda: stage.control is Control.NOW)

    def stop() -> None:
        for number in signals:
            os.kill(os.getpid(), number)

    before = signal.getsignal(signal.SIGINT)
    assert stage.run(stage.at(5, stop)) == "stopped by the user"
    assert stage.orchestrator.interrupts.at_once
    assert signal.getsignal(signal.SIGINT) is before
    nothing_is_left(stage)


def test_a_worker_that_dies_while_all_is_stopped_is_not_replaced(tmp_path: Path) -> None:
    stage = Stage(tmp_path, workers=1)
    stage.cast = lambda agent_id: stage.process(code=1, life_s=10.0)
    assert stage.run(stage.at(5, lambda: os.kill(os.getpid(), signal.SIGTERM))) == "stopped by the user"
    assert len(stage.starts) == 1


def test_what_a_stuck_worker_had_claimed_is_ended_with_it_within_ten_seconds(stage: Stage) -> None:
    """One that is stopped, or waits for a model or a git that hangs, hears nothing."""
    stage.brain.append(claim("t0001", study_id="fake-study", agent_id="worker_1"))
    stage.cast = lambda agent_id: stage.process()
    layout, study_id = stage.settings.layout, stage.settings.study_id
    assert stage.run(stage.at(5, lambda: write_control(layout, study_id, Control.NOW))) == "stopped by the user"
    assert stage.clock.monotonic() <= 5 + 10
    ended = stage.study.trials["t0001"].finished
    assert ended is not None and ended.reason is FailReason.ABANDONED
    assert "did not end when it was told to" in ended.detail
    nothing_is_left(stage)


def test_workers_that_cannot_be_told_to_stop_are_ended_all_the_same(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    stage.cast = lambda agent_id: stage.process()
    with pytest.raises(OSError, match="Read-only"):
        stage.run(stage.at(5, lambda: (monkeypatch.setattr(module, "write_control", read_only), read_only())[1]))  # type: ignore[func-returns-value]
    nothing_is_left(stage)


def test_a_stop_while_the_zygote_still_imports_waits_for_nobody(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.orchestrator._settings = stage.settings.model_copy(update={"start_up": "zygote"})
    asked: list[bool] = []

    def start(*_: object, wanted: Callable[[], bool], **__: object) -> None:
        asked.append(wanted())
        write_control(stage.settings.layout, stage.settings.study_id, Control.NOW)
        asked.append(wanted())
        raise TrialError("not wanted")

    monkeypatch.setattr(module.Zygote, "start", start)
    assert stage.run() == "stopped by the user"
    assert asked == [True, False] and stage.starts == [] and stage.study.notes == []


def test_another_process_stops_the_study_through_the_control_file(stage: Stage) -> None:
    stage.cast = stage.obedient
    layout, study_id = stage.settings.layout, stage.settings.study_id
    assert stage.run(stage.at(5, lambda: write_control(layout, study_id, Control.NOW))) == "stopped by the user"


def test_what_was_asked_of_an_earlier_run_is_forgotten(stage: Stage) -> None:
    write_control(stage.settings.layout, stage.settings.study_id, Control.NOW)
    assert stage.run() == "all trials done"


def test_a_deleted_runtime_is_made_again_with_what_was_asked(stage: Stage) -> None:
    def deleted() -> None:
        write_control(stage.settings.layout, stage.settings.study_id, Control.DRAIN)
        stage.orchestrator._asked()
        shutil.rmtree(stage.settings.layout.runtime)

    stage.cast = lambda agent_id: stage.process(life_s=8.0)
    assert stage.run(stage.at(5, deleted)) == "stopped by the user"
    assert load_settings(stage.settings.layout.settings(stage.settings.study_id)) == stage.settings
    assert stage.control is Control.DRAIN
    [told] = stage.study.notes
    assert "was deleted while the study ran" in told.description


def test_what_cannot_be_told_now_is_told_later(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, or a brain whose lock a stopped process holds, ends no study."""
    append, free = stage.brain.append, [False]

    def busy(*records: Record) -> list[Record]:
        if not free[0]:
            raise BrainError("held by pid 1")
        return append(*records)

    monkeypatch.setattr(stage.brain, "append", busy)
    fates = iter([1, 0, 0])
    stage.cast = lambda agent_id: stage.process(code=next(fates), life_s=10.0)
    troubles: list[str | None] = []
    opened = stage.at(15, lambda: free.__setitem__(0, True))
    assert stage.run(lambda: (opened(), troubles.append(stage.orchestrator.trouble))) == "all trials done"  # type: ignore[func-returns-value,arg-type]
    assert "held by pid 1" in troubles
    assert stage.study.restarts == {"worker_1": 1}


def test_a_full_disk_is_told_and_nobody_is_started_on_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    room = [0]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=room[0]))
    seen: list[tuple[str | None, int]] = []
    freed = stage.at(15, lambda: room.__setitem__(0, 10**9))
    assert (
        stage.run(lambda: (freed(), seen.append((stage.orchestrator.trouble, len(stage.starts))))) == "all trials done"
    )  # type: ignore[func-returns-value,arg-type]
    told = [trouble for trouble, _ in seen if trouble is not None]
    assert told and f"the disk of {stage.git.root} is full: 0.0 MiB are free" in told[0]
    assert all(starts == 0 for trouble, starts in seen if trouble is not None)
    assert seen[-1][0] is None and len(stage.starts) == 2


def test_the_deadline_drains(tmp_path: Path) -> None:
    stage = Stage(tmp_path, deadline_at=FakeClock().now() + 60)
    stage.cast = stage.obedient
    assert stage.run() == "time is up"
    assert stage.control is Control.DRAIN
    assert stage.clock.monotonic() == pytest.approx(60, abs=5 * POLL_S)


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_is_set_makes_the_night_neither_shorter_nor_longer(tmp_path: Path, days: int) -> None:
    stage = Stage(tmp_path, deadline_at=FakeClock().now() + 60)
    stage.cast = stage.obedient
    jump = stage.at(5, lambda: stage.clock.jump(days * 86_400.0))
    assert stage.run(jump) == "time is up"
    assert stage.clock.monotonic() == pytest.approx(60, abs=5 * POLL_S)


def test_an_error_ends_the_workers_first_with_a_word_and_then_by_force(stage: Stage) -> None:
    stage.cast = lambda agent_id: stage.obedient(agent_id) if agent_id == "worker_1" else stage.process()

    def full_disk() -> None:
        raise SwarmError("the disk is full")

    with pytest.raises(SwarmError, match="the disk is full"):
        stage.run(stage.at(5, full_disk))
    assert stage.control is Control.NOW
    assert [process.returncode for process in stage.processes] == [0, -signal.SIGKILL]
    assert stage.clock.monotonic() == pytest.approx(5 + STOP_GRACE_S, abs=3 * POLL_S)
    assert stage.study.closed is None
    nothing_is_left(stage)
