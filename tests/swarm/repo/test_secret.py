"""A clone's own secret, and how it reaches a grader and nobody else."""

import subprocess
from pathlib import Path

import pytest
from factories.graded import GRADING, TERMS

from swarm.errors import RepoError
from swarm.execution.graded import seen_by_command, seen_by_grader
from swarm.program.globs import may_change
from swarm.repo import Repo
from swarm.repo.secret import with_secret

ASKED = GRADING.model_copy(update={"secret": "items.key", "test_private": "private_test", "test_inputs": "inputs_test"})


@pytest.fixture
def clone(tmp_path: Path) -> Repo:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return Repo.open(tmp_path)


def test_it_is_made_once_and_another_for_each_split_and_target(clone: Repo) -> None:
    files = with_secret({"fit.py": b""}, clone, ASKED, "models/toy")
    assert set(files) == {"fit.py", "private/items.key", "private_test/items.key"}
    again, other = (with_secret({}, clone, ASKED, target) for target in ("models/toy", "models/other"))
    assert {**again, "fit.py": b""} == files
    seen = {*again.values(), *other.values()}
    assert len(seen) == 4 and all(len(bytes.fromhex(value.decode())) == 32 for value in seen)
    key = clone.common_dir / "swarm" / "secret.key"
    assert key.stat().st_mode & 0o077 == 0 and list(key.parent.iterdir()) == [key]


def test_no_command_and_no_program_meets_it_and_the_grader_meets_that_of_its_split(clone: Repo) -> None:
    files = with_secret({"fit.py": b""}, clone, ASKED, "toy")
    terms = TERMS.model_copy(update={"editable": ("**/*",), "closed": ("private", "private_test")})
    for split, folder in (("val", "private"), ("test", "private_test")):
        assert set(seen_by_command(files, ASKED, split)) == {"fit.py"}
        assert seen_by_grader(files, terms, ASKED, split)["private/items.key"] == files[f"{folder}/items.key"]
    assert not any(may_change(path, terms) for path in files if path != "fit.py")


def test_a_committed_or_damaged_one_is_refused_and_none_is_made_unasked(clone: Repo) -> None:
    assert with_secret({"a": b""}, clone, GRADING, "toy") == {"a": b""}
    assert not (clone.common_dir / "swarm" / "secret.key").exists()
    with pytest.raises(RepoError, match=r"toy/private/items\.key is committed"):
        with_secret({"private/items.key": b"known"}, clone, ASKED, "toy")
    (clone.common_dir / "swarm").mkdir(exist_ok=True)
    (clone.common_dir / "swarm" / "secret.key").write_bytes(b"short")
    with pytest.raises(RepoError, match="has 5 bytes and not 32"):
        with_secret({}, clone, ASKED, "toy")
