"""kill -9 of everything that can be killed: after `--resume` every claimed trial has one ending and nothing is left."""

import json
import os
import signal
from pathlib import Path

import psutil
import pytest
from fakes.tiny_study import TinyStudy, make_tiny_study, stopped_at_the_end

from swarm.records import FailReason, TrialState
from swarm.study.overlap import overlapping_pairs
from swarm.study.state import StudyState

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def tiny(tmp_path: Path) -> TinyStudy:
    return make_tiny_study(tmp_path, samples=30_000)


def some_trial_trains(study: StudyState) -> bool:
    return any(trial.state is TrialState.RUNNING for trial in study.trials.values())


def two_trials_run(study: StudyState) -> bool:
    return sum(trial.state is TrialState.RUNNING for trial in study.trials.values()) == 2


def all_is_well(tiny: TinyStudy, trials: int) -> None:
    lines = [json.loads(line) for line in tiny.brain.read_text().splitlines()]
    claimed = [line["trial_id"] for line in lines if line["kind"] == "proposal_claimed"]
    ended = [line["trial_id"] for line in lines if line["kind"] == "trial_finished"]
    assert sorted(claimed) == sorted(ended)
    assert len(claimed) == trials
    assert tiny.processes() == []
    assert tiny.held_leases() == []
    assert tiny.swarm("verify").returncode == 0


def test_a_killed_worker_is_replaced_and_its_trial_is_not_lost(tiny: TinyStudy) -> None:
    up = tiny.start("--trials", "4")
    with stopped_at_the_end(up):
        study = tiny.wait_for(some_trial_trains)
        victim = next(t for t in study.trials.values() if t.state is TrialState.RUNNING)
        os.kill(tiny.pids(f"--agent-id {victim.claim.agent_id}")[0], signal.SIGKILL)
        assert up.wait(240) == 0
    study = tiny.study()
    assert study.restarts == {victim.claim.agent_id: 1}
    assert study.trials[victim.trial_id].state is TrialState.COMPLETE
    all_is_well(tiny, 4)


@pytest.mark.slow
def test_a_killed_training_is_a_crash_and_the_study_goes_on(tiny: TinyStudy) -> None:
    up = tiny.start("--trials", "6", "--start-up", "spawn")
    with stopped_at_the_end(up):
        tiny.wait_for(lambda _: bool(trainings(tiny)))
        os.kill(trainings(tiny)[0], signal.SIGKILL)
        assert up.wait(240) == 0
    reasons = [trial.reason for trial in tiny.study().trials.values() if trial.reason]
    assert reasons == [FailReason.CRASHED]
    all_is_well(tiny, 6)


def trainings(tiny: TinyStudy) -> list[int]:
    """Phase processes of trials, in the folder of their program; probes cost no trial anything."""
    found = []
    for process in tiny.processes():
        try:
            folder = Path(process.cwd())
            if folder.name == "program" and folder.parent.suffix != ".probe":
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_a_killed_supervisor_leaves_nobody_and_its_trial_runs_again(tiny: TinyStudy) -> None:
    up = tiny.start("--trials", "6")
    with stopped_at_the_end(up):
        study = tiny.wait_for(some_trial_trains)
        victim = next(t for t in study.trials.values() if t.state is TrialState.RUNNING)
        folder = tiny.root / ".swarm" / "trials" / study.study_id / victim.trial_id
        tiny.wait_for(lambda _: (folder / "supervisor.json").exists())
        os.kill(json.loads((folder / "supervisor.json").read_text())["pid"], signal.SIGKILL)
        assert up.wait(240) == 0
    assert tiny.study().trials[victim.trial_id].state is TrialState.COMPLETE
    all_is_well(tiny, 6)


@pytest.mark.slow
def test_a_killed_orchestrator_can_be_resumed_with_two_workers(tiny: TinyStudy) -> None:
    up = tiny.start("--trials", "8")
    with stopped_at_the_end(up):
        before = tiny.wait_for(two_trials_run)
        os.kill(up.pid, signal.SIGKILL)
        up.wait()
    done = tiny.up("--resume", "--trials", "8")
    assert done.returncode == 0, done.stdout + done.stderr
    study = tiny.study()
    assert study.study_id == before.study_id
    after = [trial for name, trial in study.trials.items() if name not in before.trials]
    assert {trial.claim.agent_id for trial in after} == {"worker_1", "worker_2"}
    assert list(overlapping_pairs(after))
    all_is_well(tiny, 8)


@pytest.mark.slow
def test_the_first_interrupt_drains_and_resume_goes_on(tiny: TinyStudy) -> None:
    up = tiny.start("--trials", "8")
    with stopped_at_the_end(up):
        tiny.wait_for(two_trials_run)
        up.send_signal(signal.SIGINT)
        assert up.wait(120) == 0
    study = tiny.study()
    assert study.closed is not None and study.closed.reason == "drained by the user"
    assert all(trial.state is TrialState.COMPLETE for trial in study.trials.values())
    claimed = len(study.trials)
    all_is_well(tiny, claimed)
    assert tiny.up("--resume", "--trials", str(claimed + 1)).returncode == 0
    all_is_well(tiny, claimed + 1)


@pytest.mark.slow
def test_the_second_interrupt_stops_at_once(tiny: TinyStudy) -> None:
    up = tiny.start("--trials", "8")
    with stopped_at_the_end(up):
        tiny.wait_for(two_trials_run)
        up.send_signal(signal.SIGINT)
        tiny.wait_for(lambda study: (tiny.root / ".swarm/studies" / study.study_id / "control").read_text() == "drain")
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 130
    study = tiny.study()
    assert {trial.reason for trial in study.trials.values()} <= {FailReason.ABANDONED, None}
    all_is_well(tiny, len(study.trials))


@pytest.mark.slow
def test_swarm_stop_ends_a_study_from_another_terminal(tiny: TinyStudy) -> None:
    up = tiny.start()
    with stopped_at_the_end(up):
        tiny.wait_for(two_trials_run)
        assert tiny.swarm("stop").returncode == 0
        assert up.wait(30) == 0
    all_is_well(tiny, len(tiny.study().trials))
