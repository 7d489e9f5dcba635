"""Whole studies: real processes, real git, real trainings of a tiny program."""

import json
import subprocess
from pathlib import Path

import pytest
from fakes.fake_llm import FakeLLM, tune_a_constant
from fakes.tiny_study import TRAIN, TinyStudy, make_tiny_study, write_script

from swarm.clock import SystemClock
from swarm.orchestrator.opening import open_study
from swarm.records import Operator, TrialState
from swarm.study.options import UpOptions
from swarm.study.overlap import overlapping_pairs
from swarm.study.state import StudyState

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def tiny(tmp_path: Path) -> TinyStudy:
    return make_tiny_study(tmp_path)


def every_trial_has_one_ending(tiny: TinyStudy, study: StudyState) -> None:
    lines = [json.loads(line) for line in tiny.brain.read_text().splitlines()]
    claimed = [line["trial_id"] for line in lines if line["kind"] == "proposal_claimed"]
    ended = [line["trial_id"] for line in lines if line["kind"] == "trial_finished"]
    assert sorted(claimed) == sorted(ended) == sorted(study.trials)


def nothing_is_left(tiny: TinyStudy) -> None:
    assert tiny.processes() == []
    assert tiny.held_leases() == []
    assert not list((tiny.root / ".swarm" / "worktrees").glob("*"))
    assert len(tiny.repo.git("worktree", "list").splitlines()) == 1


def test_two_workers_share_the_work_and_leave_the_user_alone(tiny: TinyStudy, tmp_path: Path) -> None:
    script = write_script(
        tmp_path / "script.jsonl",
        {"description": "a larger step", "constants": {"MAX_LR": 0.5}},
        {"description": "the same again", "constants": {"MAX_LR": 0.5}},
        {"description": "nothing new", "constants": {"MAX_LR": 0.05}},
        {"description": "hardly a step", "constants": {"MAX_LR": 0.001}},
    )
    before = tiny.repo.fingerprint()
    done = tiny.up("--trials", "9", "--proposer", f"scripted:{script}")
    assert done.returncode == 0, done.stdout + done.stderr
    study = tiny.study()
    every_trial_has_one_ending(tiny, study)
    assert {trial.claim.agent_id for trial in study.trials.values()} == {"worker_1", "worker_2"}
    assert list(overlapping_pairs(study.trials.values()))
    assert [t.claim.operator for t in study.trials.values()].count(Operator.BASELINE) == 5
    assert {"no_change", "near_duplicate", "duplicate"} & {refused.code for refused in study.rejections}
    larger = next(p for p in study.programs.values() if p.first.claim.description == "a larger step")
    assert larger.mean is not None and study.baseline is not None and study.baseline.mean is not None
    assert larger.mean < study.baseline.mean - 0.1
    assert larger.verdict is not None and "rank program" in done.stdout
    worse = next(p for p in study.programs.values() if p.first.claim.description == "hardly a step")
    weights = {p.parents[1].name for p in (tiny.root / ".swarm" / "trials").rglob("weights.pt")}
    assert larger.name in weights and "t0001" in weights and worse.name not in weights
    after = tiny.repo.fingerprint()
    assert before[:4] == after[:4]
    assert tiny.repo.git("status", "--porcelain") == "?? swarm_brain.jsonl"
    assert tiny.swarm("verify").returncode == 0
    nothing_is_left(tiny)


@pytest.mark.slow
def test_what_a_trial_changed_can_be_seen_and_adopted(tiny: TinyStudy, tmp_path: Path) -> None:
    script = write_script(tmp_path / "s.jsonl", {"description": "a larger step", "constants": {"MAX_LR": 0.5}})
    assert tiny.up("--trials", "6", "--proposer", f"scripted:{script}", "--workers", "1").returncode == 0
    diff = tiny.swarm("diff", "6").stdout
    assert "-MAX_LR = 0.05" in diff and "+MAX_LR = 0.5" in diff
    head = tiny.repo.git("rev-parse", "HEAD")
    adopted = tiny.swarm("adopt", "6", "--branch", "better")
    assert adopted.returncode == 0, adopted.stderr
    assert "MAX_LR = 0.5" in tiny.repo.git("show", "better:models/tiny/train.py")
    assert tiny.repo.git("rev-parse", "HEAD") == head
    assert tiny.repo.git("rev-parse", "better^") == head


def test_a_model_behind_a_server_proposes_real_edits(tiny: TinyStudy) -> None:
    with FakeLLM([tune_a_constant]) as server:
        done = tiny.up(
            "--trials", "7", "--proposer", f"openai:fake-1@{server.url}", OPENAI_API_KEY="sk-canary-0123456789abcdef"
        )
    assert done.returncode == 0, done.stdout + done.stderr
    study = tiny.study()
    every_trial_has_one_ending(tiny, study)
    edits = [trial for trial in study.trials.values() if trial.claim.proposer == "openai:fake-1"]
    assert edits and all(trial.state is TrialState.COMPLETE for trial in edits)
    assert all(trial.claim.constants_changed and trial.claim.briefing_sha256 for trial in edits)
    assert all(study.programs[trial.claim.program].verdict is not None for trial in edits)
    assert any(trial.claim.usage and trial.claim.usage.input_tokens == 1000 for trial in edits)
    found = subprocess.run(["grep", "-r", "sk-canary", str(tiny.root)], capture_output=True, text=True, check=False)
    assert found.stdout == ""


@pytest.mark.slow
def test_a_server_that_is_down_does_not_stop_the_study(tiny: TinyStudy) -> None:
    done = tiny.up("--trials", "7", "--proposer", "openai:fake-1@http://127.0.0.1:9/v1")
    assert done.returncode == 0, done.stdout + done.stderr
    study = tiny.study()
    every_trial_has_one_ending(tiny, study)
    assert {trial.claim.arm for trial in study.trials.values()} & {"model-based", "climb", "library"}
    assert any(refused.code.startswith("llm_") for refused in study.rejections)


def test_a_dirty_target_is_refused_and_dirt_elsewhere_is_not(tiny: TinyStudy) -> None:
    tiny.repo.write("notes.txt", "mine")
    tiny.repo.write("models/tiny/train.py", TRAIN + "\n# edited\n")
    done = tiny.up("--trials", "1")
    assert done.returncode == 1
    assert "models/tiny/train.py has uncommitted changes" in done.stderr + done.stdout
    assert not tiny.brain.exists()
    tiny.repo.write("models/tiny/train.py", TRAIN)
    options = UpOptions(target="tiny", data="standin", device="cpu")
    opened = open_study(options, tiny.root, SystemClock(), say=print)
    assert tiny.study().study_id == opened.settings.study_id
    assert (tiny.root / "notes.txt").read_text() == "mine"


@pytest.mark.slow
def test_a_base_program_that_does_not_run_is_one_clear_error(tmp_path: Path) -> None:
    tiny = make_tiny_study(tmp_path, train=TRAIN.replace("nn.Linear(3 * 8 * 8, 100)", "nn.Linear(7, 100)"))
    done = tiny.up("--trials", "8")
    assert done.returncode == 1
    assert "the unchanged program failed" in done.stderr
    nothing_is_left(tiny)


@pytest.mark.slow
def test_two_studies_in_one_repository_at_once(tiny: TinyStudy) -> None:
    first = tiny.start("--trials", "2")
    tiny.wait_for(lambda study: bool(study.trials))
    second = tiny.up("--trials", "1")
    assert second.returncode == 1
    assert "a swarm is running" in second.stderr
    assert first.wait(120) == 0
