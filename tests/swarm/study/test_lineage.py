"""Where a program comes from, and what it changed."""

import subprocess
from pathlib import Path

import pytest
from factories.studies import FakeStudy, digest

from swarm.study.lineage import ancestors, commit_of, diff, parent_of

PATH = "models/tiny/train.py"


@pytest.fixture
def fake() -> FakeStudy:
    fake = FakeStudy()
    fake.measure_noise()
    return fake


def test_the_way_to_the_baseline_goes_over_programs_and_not_over_replicates(fake: FakeStudy) -> None:
    child = fake.try_change(loss=2.0)
    again = fake.replicate(child, 2.0)
    fake.true_loss[again] = 2.0
    grandchild = fake.try_change(loss=1.9, parent=again)
    study = fake.study
    found = parent_of(study, study.programs[grandchild])
    assert found is study.programs[child]
    assert [program.name for program in ancestors(study, study.programs[grandchild])] == [child, "t0001"]
    assert parent_of(study, study.programs["t0001"]) is None and ancestors(study, study.programs["t0001"]) == []


def test_a_line_that_names_itself_ends(fake: FakeStudy) -> None:
    odd = fake.claim(parent="t0001")
    fake.study.programs[odd].parent = odd
    assert [program.name for program in ancestors(fake.study, fake.study.programs[odd])] == [odd]


def test_the_commit_is_the_base_what_was_recorded_or_the_ref(fake: FakeStudy) -> None:
    study, name = fake.study, fake.claim(parent="t0001")
    program = study.programs[name]
    assert commit_of(study, study.programs["t0001"]) == study.opened.base_commit
    assert commit_of(study, program) is None
    assert commit_of(study, program, {name: "c" * 40}) == "c" * 40
    fake.start(name)
    assert commit_of(study, program) == digest(name)[:40]


@pytest.mark.parametrize(
    ("before", "after"),
    [("a\nb\nc\n", "a\nB\nc\nd\n"), ("a\nb", "a\nb\n"), ("a\n", "a\nb"), ("", "new\n"), ("x\r\ny\n", "x\ny\n")],
)
def test_git_applies_a_diff(before: str, after: str, tmp_path: Path) -> None:
    file = tmp_path / PATH
    file.parent.mkdir(parents=True)
    file.write_bytes(before.encode())
    patch = diff(before, after, PATH).encode()
    subprocess.run(["git", "apply", "-"], input=patch, cwd=tmp_path, check=True, capture_output=True)
    assert file.read_bytes() == after.encode()


def test_equal_texts_have_no_diff() -> None:
    assert diff("a\n", "a\n", PATH) == ""
