"""A person works in the repository while a study runs: it goes on, and nothing that was acknowledged is lost."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.tiny_study import TinyStudy, make_tiny_study, stopped_at_the_end

from swarm.brain import verify
from swarm.study.state import StudyState

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def tiny(tmp_path: Path) -> TinyStudy:
    """Its brain is tracked, as that of a fresh clone is."""
    tiny = make_tiny_study(tmp_path, samples=6_000)
    tiny.brain.write_text('{"agent_id":"first","validation_loss":4.5,"description":"an old line"}\n')
    tiny.repo.write("notes.txt", "mine\n")
    tiny.repo.commit("a brain and notes")
    return tiny


def git(tiny: TinyStudy, *arguments: str) -> None:
    """What git refuses to do, because the brain has changed, is no harm."""
    subprocess.run(["git", "-c", "user.name=u", "-c", "user.email=u@x", *arguments], cwd=tiny.root, check=False)


def stash(tiny: TinyStudy) -> None:
    (tiny.root / "notes.txt").write_text("changed\n")
    git(tiny, "stash", "-q")


def stash_everything(tiny: TinyStudy) -> None:
    git(tiny, "stash", "-q", "--include-untracked")


def stash_and_pop(tiny: TinyStudy) -> None:
    git(tiny, "stash", "-q")
    time.sleep(1)
    git(tiny, "stash", "pop", "-q")


def checkout_files(tiny: TinyStudy) -> None:
    git(tiny, "checkout", "-q", "--", ".")


def checkout_a_branch(tiny: TinyStudy) -> None:
    git(tiny, "checkout", "-q", "-f", "-B", "elsewhere", "HEAD~1")  # where there is no brain
    git(tiny, "checkout", "-q", "-f", "main")


def reset(tiny: TinyStudy) -> None:
    git(tiny, "reset", "-q", "--hard")


def commit_all(tiny: TinyStudy) -> None:
    git(tiny, "commit", "-q", "-a", "-m", "the brain so far")


def rebase(tiny: TinyStudy) -> None:
    git(tiny, "commit", "-q", "-a", "-m", "the brain so far")
    git(tiny, "rebase", "-q", "--autostash", "--force-rebase", "HEAD~1")


def collect_garbage(tiny: TinyStudy) -> None:
    git(tiny, "reflog", "expire", "--expire=now", "--all")
    git(tiny, "gc", "-q", "--prune=now")


def clean(tiny: TinyStudy) -> None:
    git(tiny, "clean", "-q", "-fdx")


def clean_all(tiny: TinyStudy) -> None:
    git(tiny, "clean", "-q", "-ffdx")


def delete_the_runtime(tiny: TinyStudy) -> None:
    shutil.rmtree(tiny.root / ".swarm", ignore_errors=True)


def delete_the_brain(tiny: TinyStudy) -> None:
    tiny.brain.unlink(missing_ok=True)


def empty_the_brain(tiny: TinyStudy) -> None:
    tiny.brain.write_bytes(b"")


DEEDS = [
    *(stash, stash_everything, stash_and_pop, checkout_files, checkout_a_branch, reset, commit_all, rebase),
    *(collect_garbage, clean, clean_all, delete_the_runtime, delete_the_brain, empty_the_brain),
]


def acknowledged(brain: Path) -> set[str]:
    lines = brain.read_text(encoding="utf-8").splitlines() if brain.exists() else []
    return {json.loads(line)["id"] for line in lines if '"id":' in line}


def the_study_is_whole(tiny: TinyStudy, trials: int) -> StudyState:
    study = tiny.study()
    assert [trial.trial_id for trial in study.trials.values() if trial.finished is None] == []
    assert len(study.trials) == trials
    assert verify(tiny.brain).ok
    assert tiny.processes() == [] and tiny.held_leases() == []
    return study


@pytest.mark.slow
@pytest.mark.parametrize("deed", DEEDS)
def test_the_study_goes_on_whatever_a_person_does_in_the_repository(
    tiny: TinyStudy, deed: Callable[[TinyStudy], None]
) -> None:
    up = tiny.start("--trials", "4")
    seen: set[str] = set()
    with stopped_at_the_end(up):
        for more in range(3):
            tiny.wait_for(lambda study, more=more: len(study.trials) > more or up.poll() is not None)
            seen |= acknowledged(tiny.brain)
            deed(tiny)
            time.sleep(0.5)
        assert up.wait(240) == 0, (tiny.ledger.parent / "up.log").read_text()[-3000:]
    the_study_is_whole(tiny, 4)
    assert seen <= acknowledged(tiny.brain)


def test_a_stash_in_the_middle_of_a_study_costs_nothing(tiny: TinyStudy) -> None:
    up = tiny.start("--trials", "2")
    with stopped_at_the_end(up):
        tiny.wait_for(lambda study: len(study.trials) == 2)
        seen = acknowledged(tiny.brain)
        stash(tiny)
        assert up.wait(240) == 0, (tiny.ledger.parent / "up.log").read_text()[-3000:]
    study = the_study_is_whole(tiny, 2)
    assert seen <= acknowledged(tiny.brain)
    assert any("was replaced by an older version" in note.description for note in study.notes)
    assert tiny.repo.git("stash", "list").count("stash@") == 1
