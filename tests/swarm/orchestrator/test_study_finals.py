"""The finals of whole studies: real processes, real git, real trainings of a tiny program."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from fakes.tiny_study import TinyStudy, make_tiny_study, stopped_at_the_end, write_script

from swarm.records import Operator
from swarm.study.state import StudyState
from swarm.verdict.finals import finals_costs
from swarm.verdict.standing import Standing, standing

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def tiny(tmp_path: Path) -> TinyStudy:
    return make_tiny_study(tmp_path)


def a_gain_among_losses(tmp_path: Path, losses: int) -> str:
    lines = [{"description": f"worse {n}", "constants": {"MAX_LR": 0.004 * 0.8**n}} for n in range(losses)]
    lines.insert(1, {"description": "a larger step", "constants": {"MAX_LR": 0.5}})
    return f"scripted:{write_script(tmp_path / 'script.jsonl', *lines)}"


def in_finals(study: StudyState) -> list[str]:
    return [trial.claim.program for trial in study.trials.values() if trial.claim.finals]


def kept(study: StudyState) -> list[str]:
    return [p.first.claim.description for p in study.programs.values() if standing(study, p) is Standing.KEPT]


@pytest.mark.slow
def test_the_finals_start_by_themselves_and_keep_what_is_better(tiny: TinyStudy, tmp_path: Path) -> None:
    done = tiny.up("--trials", "30", "--proposer", a_gain_among_losses(tmp_path, 30))
    assert done.returncode == 0, done.stdout + done.stderr
    study = tiny.study()
    assert len(study.trials) == 30 and len(in_finals(study)) == 6
    assert Counter(in_finals(study)).most_common()[0][1] == 3
    assert kept(study) == ["a larger step"]
    winner = next(p for p in study.programs.values() if p.first.claim.description == "a larger step")
    assert len(finals_costs(winner, 1)) == 3
    seeds = [trial.claim.seed for trial in study.trials.values()]
    assert len(set(seeds)) == len(seeds)
    assert study.closed is not None and study.closed.reason == "all trials done"
    assert tiny.swarm("verify").returncode == 0


@pytest.mark.slow
def test_finals_later_go_on_after_a_kill(tiny: TinyStudy, tmp_path: Path) -> None:
    done = tiny.up("--trials", "8", "--no-finals", "--proposer", a_gain_among_losses(tmp_path, 6))
    assert done.returncode == 0, done.stdout + done.stderr
    assert in_finals(tiny.study()) == [] and kept(tiny.study()) == []
    started = tiny.spawn("finals")
    with stopped_at_the_end(started):
        tiny.wait_for(lambda study: sum(t.finished is not None for t in study.trials.values() if t.claim.finals) >= 2)
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
    again = tiny.swarm("up", "--resume")
    assert again.returncode == 0, again.stdout + again.stderr
    study = tiny.study()
    assert len(study.finals) == 1 and study.finals_ends[1].kept, study.finals_ends
    assert kept(study) == ["a larger step"]
    baseline = study.baseline
    assert baseline is not None and len(finals_costs(baseline, 1)) >= 3
    operators = {t.claim.operator for t in study.trials.values() if t.claim.finals}
    assert operators == {Operator.REPLICATE}
