"""`swarm adopt`: the change of any program on a branch, without the constants of the study's profile."""

import contextlib
import io
import sys
from pathlib import Path

import pytest
from factories.records import claim, finished, started, study_opened
from fakes.git_repository import GitRepository, make_repository

from swarm.brain import Brain
from swarm.cli.programs import adopt_trial
from swarm.errors import MergeConflict
from swarm.program.constants import assign
from swarm.repo import Repo, trial_ref

FILE = "models/tiny/train.py"
SOURCE = "WIDTH = 64  # search: int(8, 128)\nDEPTH = 3\nMAX_LR = 0.05\n\n\ndef main():\n    return WIDTH\n"
BASE = assign(SOURCE, {"WIDTH": 16, "DEPTH": 2})

PROGRAMS = {
    "the baseline": BASE,
    "a constant": assign(BASE, {"MAX_LR": 0.5}),
    "the profile's constant": assign(BASE, {"WIDTH": 24}),
    "all constants": assign(BASE, {"WIDTH": 24, "DEPTH": 4, "MAX_LR": 0.5}),
    "a line beside the profile's": BASE.replace("DEPTH = 2\n", "DEPTH = 2\nEXTRA = 1\n"),
    "code": BASE.replace("return WIDTH", "return 2 * WIDTH"),
    "a constant less": BASE.replace("DEPTH = 2\n", ""),
    "all anew": "def main():\n    return 1\n",
    "no line end": BASE.rstrip("\n"),
}


class Scene:
    def __init__(self, folder: Path) -> None:
        self.git: GitRepository = make_repository(folder / "repo")
        self.git.write(FILE, SOURCE)
        self.git.commit("a target")
        repo = Repo.open(self.git.root)
        self.brain = Brain(self.git.root / "swarm_brain.jsonl")
        base = repo.commit_change(repo.head(), {FILE: BASE}, "base", "refs/swarm/fake-study/base")
        self.brain.append(study_opened(target_folder="models/tiny", base_commit=base))
        for number, text in enumerate(PROGRAMS.values(), 1):
            name = f"t{number:04d}"
            commit = base if number == 1 else repo.commit_change(base, {FILE: text}, "m", trial_ref("fake-study", name))
            parent = None if number == 1 else "t0001"
            records = claim(name, parent=parent), started(name, commit=commit), finished(name, None)
            self.brain.append(*(record.model_copy(update={"study_id": "fake-study"}) for record in records))

    def adopt(self, what: str) -> tuple[str, str]:
        """The file on the new branch, and what was warned of."""
        number = str(list(PROGRAMS).index(what) + 1)
        stderr = io.StringIO()
        with contextlib.redirect_stderr(stderr), pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.git.root)
            patch.setattr(sys, "argv", ["swarm"])
            adopt_trial(None, None, number, f"b{number}")
        return Repo.open(self.git.root).read(f"b{number}", FILE), stderr.getvalue()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("adopt"))


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("the baseline", SOURCE),
        ("a constant", assign(SOURCE, {"MAX_LR": 0.5})),
        ("the profile's constant", assign(SOURCE, {"WIDTH": 24})),
        ("all constants", assign(SOURCE, {"WIDTH": 24, "DEPTH": 4, "MAX_LR": 0.5})),
        ("a line beside the profile's", SOURCE.replace("DEPTH = 3\n", "DEPTH = 3\nEXTRA = 1\n")),
        ("code", SOURCE.replace("return WIDTH", "return 2 * WIDTH")),
        ("a constant less", SOURCE.replace("DEPTH = 3\n", "")),
        ("all anew", PROGRAMS["all anew"]),
        ("no line end", SOURCE.rstrip("\n")),
    ],
)
def test_every_program_can_be_adopted_without_the_constants_of_the_profile(
    scene: Scene, what: str, expected: str
) -> None:
    text, warned = scene.adopt(what)
    assert text == expected
    assert ("WIDTH is 24 in the trial" in warned) == (what in ("the profile's constant", "all constants"))
    assert "is failed, neither kept nor leading" in warned or what == "the baseline"


def test_a_file_that_has_moved_on_elsewhere_takes_the_change_and_in_the_same_place_says_so(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.git.write(FILE, SOURCE.replace("DEPTH = 3", "DEPTH = 5"))
    scene.git.commit("deeper")
    text, _ = scene.adopt("code")
    assert text == SOURCE.replace("DEPTH = 3", "DEPTH = 5").replace("return WIDTH", "return 2 * WIDTH")
    with pytest.raises(MergeConflict):
        scene.adopt("all constants")
    assert "b4" not in scene.git.git("branch")


def test_the_branch_that_adopt_names_is_the_one_that_git_reads(scene: Scene) -> None:
    """A branch called swarm/STUDY/TRIAL would be hidden by the ref of the trial, which has the profile's constants."""
    number = str(list(PROGRAMS).index("code") + 1)
    with contextlib.redirect_stdout(io.StringIO()) as stdout, pytest.MonkeyPatch.context() as patch:
        patch.chdir(scene.git.root)
        adopt_trial(None, None, number, None)
    said = stdout.getvalue().rpartition("git diff ")[2].strip()
    assert scene.git.git("rev-parse", said.rpartition("...")[2]) == scene.git.git("rev-parse", f"refs/heads/{said[7:]}")
    assert "WIDTH = 16" not in scene.git.git("diff", said)
