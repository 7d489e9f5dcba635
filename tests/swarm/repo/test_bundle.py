"""Programs in a clone: out of the bundle beside the brain, and never a raw git error."""

import contextlib
import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from factories.records import claim, finished, started, study_opened
from fakes.git_repository import GitRepository, make_repository

from swarm.brain import Brain
from swarm.cli import main
from swarm.errors import RepoError
from swarm.repo import Repo, bundle_beside, take_bundle, trial_ref, write_bundle

ROOT = Path(__file__).parents[3]
FILE = "models/tiny/train.py"
STUDY = "fake-study"


def swarm(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", ["swarm", *arguments])
        code = main()
    return code, stdout.getvalue(), stderr.getvalue()


def clone(source: Path, to: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", source.as_uri(), str(to)], check=True, timeout=60)
    return to


@pytest.fixture
def git(tmp_path: Path) -> GitRepository:
    """A repository in which a study of two programs was run; its brain is committed."""
    made = make_repository(tmp_path / "repo")
    made.write(FILE, "RATE = 1\n")
    made.commit("a target")
    repo = Repo.open(made.root)
    base = repo.commit_change(repo.head(), {FILE: "RATE = 2\n"}, "base", f"refs/swarm/{STUDY}/base")
    other = repo.commit_change(base, {FILE: "RATE = 3\n"}, "m", trial_ref(STUDY, "t0002"))
    records = [study_opened(target_folder="models/tiny", base_commit=base), claim("t0001"), finished("t0001", None)]
    records += [claim("t0002", parent="t0001"), started("t0002", commit=other), finished("t0002", None)]
    Brain(made.root / "swarm_brain.jsonl").append(*(one.model_copy(update={"study_id": STUDY}) for one in records))
    made.commit("the brain")
    return made


def test_a_clone_shows_programs_out_of_the_bundle(git: GitRepository, tmp_path: Path) -> None:
    code, said, _ = swarm("brain", "bundle", cwd=git.root)
    assert code == 0 and said.startswith("Wrote 2 programs")
    git.commit("the programs")
    there = clone(git.root, tmp_path / "clone")
    code, said, heard = swarm("diff", "t0002", cwd=there)
    assert code == 0 and "-RATE = 2\n+RATE = 3\n" in said
    assert heard == "swarm: took 2 programs of fake-study out of swarm_brain.bundle\n"
    assert swarm("show", "2", cwd=there) == (0, "RATE = 3\n", "")
    assert Repo.open(there).refs(STUDY) == Repo.open(git.root).refs(STUDY)


@pytest.mark.parametrize("command", ["diff", "show", "adopt"])
def test_without_a_bundle_a_clone_says_where_the_program_is(git: GitRepository, tmp_path: Path, command: str) -> None:
    there = clone(git.root, tmp_path / "clone")
    code, said, heard = swarm(command, "t0002", cwd=there)
    assert (code, said) == (1, "")
    assert "ran in another repository. There, `swarm brain bundle`" in heard and "fatal" not in heard


def test_a_shallow_clone_says_so(git: GitRepository, tmp_path: Path) -> None:
    swarm("brain", "bundle", cwd=git.root)
    git.commit("the programs")
    there = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth", "1", git.root.as_uri(), str(there)], check=True, timeout=60)
    code, _, heard = swarm("show", "2", cwd=there)
    assert code == 1 and "this clone is shallow: run git fetch --unshallow" in heard


def test_what_is_no_bundle_or_contradicts_takes_nothing(git: GitRepository, tmp_path: Path) -> None:
    repo, path = Repo.open(git.root), bundle_beside(git.root / "swarm_brain.jsonl")
    write_bundle(repo, {STUDY: repo.refs(STUDY)["base"]}, path)
    there = Repo.open(clone(git.root, tmp_path / "clone"))
    junk = tmp_path / "junk.bundle"
    junk.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RepoError, match="cannot be taken from"):
        take_bundle(there, junk, STUDY)
    assert take_bundle(there, path, "another-study") == 0
    there.git("update-ref", trial_ref(STUDY, "t0002"), there.head())
    with pytest.raises(RepoError, match="nothing was taken"):
        take_bundle(there, path, STUDY)
    assert set(there.refs(STUDY)) == {"t0002"}
    with pytest.raises(RepoError, match="no trial commit of nowhere"):
        write_bundle(repo, {"nowhere": "0" * 40}, path)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clone of this repository, as it is committed, with the brain and the bundle as they lie here."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: the recorded study's programs are not verified")
    if Repo.open(ROOT).git.line("rev-parse", "--is-shallow-repository") == "true":
        pytest.skip("a shallow clone: the recorded study's programs are not verified")
    there = clone(ROOT, tmp_path_factory.mktemp("fresh") / "clone")
    for name in ("swarm_brain.jsonl", "swarm_brain.bundle"):
        shutil.copy(ROOT / name, there / name)
    yield there


def test_each_program_of_the_recorded_study_can_be_shown_in_a_fresh_clone(fresh: Path) -> None:
    """After another study was recorded: `swarm brain bundle`, and commit what it wrote."""
    from swarm.program.tree import tree_sha256

    study = Brain(fresh / "swarm_brain.jsonl").snapshot().latest
    assert study is not None and len(study.programs) > 10
    for program in study.programs.values():
        code, text, heard = swarm("show", program.name, "--study", study.study_id, cwd=fresh)
        assert code == 0, heard
        assert tree_sha256(text) == program.first.claim.tree_sha256
