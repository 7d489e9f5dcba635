import re
import tomllib
from pathlib import Path, PurePosixPath

import pytest
from pydantic import ValidationError

from swarm.errors import TargetError
from swarm.records import Budget
from swarm.target.file import available_targets, load_target
from swarm.target.objective import Objective
from swarm.target.tables import TargetFile

TOML = """\
name = "toy"
description = "a toy"
editable = ["train.py"]
classes = 10

[budget]
kind = "samples"

[profile.cpu]
budget = 600
walltime_limit_s = 30.5
memory_mib = 300
threads = 1

[profile.cpu.constants]
WIDTH = 16

[profile.gpu]
budget = 300
walltime_limit_s = 900
memory_mib = 6000
threads = 4
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "my repo ü"
    write(root / "models" / "toy")
    return root


def write(folder: Path, text: str = TOML) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "target.toml").write_text(text)
    (folder / "train.py").write_text("WIDTH = 64  # search: int(8, 128)\n")


def test_a_bare_name_means_a_folder_below_models(root: Path) -> None:
    target = load_target("toy", root)
    assert target.folder == PurePosixPath("models/toy")
    assert target.editable == "train.py"
    assert (target.name, target.classes, target.objective) == ("toy", 10, Objective())
    assert target.budget.of(target.profiles.cpu) == Budget(kind="samples", amount=600, walltime_limit_s=30.5)
    assert target.profiles.gpu.constants == {}
    with pytest.raises(ValidationError):
        target.name = "other"  # type: ignore[misc]


def test_a_path_is_found_from_here_or_from_the_repository(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root / "elsewhere" / "mine")
    assert load_target(root / "elsewhere" / "mine", root).folder == PurePosixPath("elsewhere/mine")
    assert load_target("elsewhere/mine", root).folder == PurePosixPath("elsewhere/mine")
    monkeypatch.chdir(root / "elsewhere")
    assert load_target("./mine", root).folder == PurePosixPath("elsewhere/mine")


def test_the_base_program_has_the_constants_of_the_profile(root: Path) -> None:
    target = load_target("toy", root)
    source = "WIDTH = 64  # search: int(8, 128)\n"
    assert target.base_source(source, target.profiles.cpu) == "WIDTH = 16  # search: int(8, 128)\n"
    assert target.base_source(source, target.profiles.gpu) == source
    with pytest.raises(TargetError, match=r"models/toy/train.py .* no constant WIDTH; it declares: LR"):
        target.base_source("LR = 1.0\n", target.profiles.cpu)


@pytest.mark.parametrize("name", ["nope", "", ".", "models/nope", "/nope"])
def test_an_unknown_target_lists_those_that_exist(root: Path, name: str) -> None:
    write(root / "models" / "second")
    assert available_targets(root) == ["second", "toy"]
    with pytest.raises(TargetError, match="second, toy"):
        load_target(name, root)


def test_a_folder_outside_of_the_repository_is_refused(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "outside")
    (root / "models" / "link").symlink_to(tmp_path / "outside")
    for name in (str(tmp_path / "outside"), "link"):
        with pytest.raises(TargetError, match="not a folder below the repository"):
            load_target(name, root)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("classes = 10\n", "", r"models/toy/target.toml: classes is missing"),
        ('kind = "samples"', 'kind = "minutes"', r'budget.kind: is "minutes": .*work.*time.*samples'),
        ('[budget]\nkind = "samples"\n', "", r'budget: is missing: what .* such as \[budget\] kind = "work"'),
        (
            "budget = 600",
            'budget_kind = "samples"\nbudget = 600',
            r"not a key; it is kind in \[budget\]",
        ),
        ("budget = 600", 'budget = "600"', r'profile.cpu.budget: is "600": .*number'),
        ("budget = 600", "budget = inf", r"profile.cpu.budget: is Infinity: .*finite"),
        ("threads = 4", "threads = 0", r"profile.gpu.threads: is 0: .*greater than 0"),
        ("threads = 4", "threds = 4", r"profile.gpu.threds: is not a key; allowed here: .*threads"),
        ("classes = 10", "clases = 10", r"clases: is not a key; allowed here: budget, classes, .*profile"),
        ("[profile.gpu]", "[profile.tpu]", r"profile.tpu: is not a key; allowed here: cpu, gpu"),
        (
            "[profile.cpu]",
            '[objective]\ndirection = "maximize"\n[profile.cpu]',
            r"maximize: .*which is minimized",
        ),
        ("[profile.cpu]", "[objective]\ndigits = -1\n[profile.cpu]", r"objective.digits: is -1: .*greater than"),
        ("[profile.cpu]", '[objective]\nnam = "x"\n[profile.cpu]', r"objective.nam: is not a key; .*digits, direction"),
        ('["train.py"]', '["../train.py"]', r'editable: is \["../train.py"\]: files inside'),
        ('["train.py"]', '["train.py", "b.py"]', r"editable is .* a sealed target has one Python file"),
        ('["train.py"]', '["gone.py"]', r'editable = \["gone.py"\]: there is no such file in models/toy'),
        ('"toy"', '"Toy Two"', r'name: is "Toy Two": .*pattern'),
        (
            "WIDTH = 16",
            "WIDTH = [16]",
            r"^models/toy/target.toml: profile.cpu.constants.WIDTH: is \[16\]: a number, a boolean or a string$",
        ),
        ("classes = 10", "classes = ", r"cannot be read: .*line 4"),
    ],
)
def test_a_bad_key_is_named_with_its_value_and_what_is_allowed(root: Path, old: str, new: str, message: str) -> None:
    assert old in TOML
    write(root / "models" / "toy", TOML.replace(old, new))
    with pytest.raises(TargetError, match=message):
        load_target("toy", root)


def test_an_editable_link_out_of_the_folder_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("")
    (root / "models" / "toy" / "train.py").unlink()
    (root / "models" / "toy" / "train.py").symlink_to(tmp_path / "train.py")
    with pytest.raises(TargetError, match="no such file"):
        load_target("toy", root)


GRADED = """\
name = "fit"
editable = ["fit.py"]

[objective]
name = "rmse"
unit = "m"

[budget]
kind = "time"

[profile.cpu]
budget = 5
walltime_limit_s = 30
memory_mib = 500
threads = 1

[profile.gpu]
budget = 5
walltime_limit_s = 30
memory_mib = 500
threads = 1
"""
RUN = '\n[run]\ncommand = "python fit.py"\n'
OUTPUTS = 'outputs = [{ name = "y.npy", type = "npy", shape = [10] }]\n'
GRADE = '\n[grade]\ncommand = "python grade.py"\n'
ROUNDS = '\n[rounds]\ncount = 3\nmake = "python make.py"\n'


@pytest.mark.parametrize(
    ("more", "grade"), [(RUN, "self-reported"), (RUN + OUTPUTS + GRADE, "graded"), ("classes = 10", "sealed")]
)
def test_what_a_target_brings_says_its_grade(tmp_path: Path, more: str, grade: str) -> None:
    text = (
        GRADED.replace('editable = ["fit.py"]', f'editable = ["fit.py"]\n{more}')
        if grade == "sealed"
        else GRADED + more
    )
    assert TargetFile.model_validate(tomllib.loads(text)).measured == grade


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GRADED + GRADE, "[grade] is there and [run] is missing"),
        (GRADED + RUN + OUTPUTS, "give [grade] command, or leave them out"),
        (GRADED + RUN + GRADE, "run.outputs is empty"),
        ('grade = "graded"\n' + GRADED + RUN, "a table, [grade] command ="),
        (GRADED + RUN + ROUNDS, "rounds, prepare, test and run.outputs are for a grader"),
        (GRADED + ROUNDS, "[rounds] is there and [run] is missing"),
        (GRADED + RUN + OUTPUTS + GRADE + ROUNDS.replace("3", "1"), "greater than or equal to 2"),
    ],
)
def test_a_grade_that_is_no_command_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(problem)):
        TargetFile.model_validate(tomllib.loads(text))


def test_rounds_need_a_fixed_program_and_inputs_that_no_candidate_makes(root: Path) -> None:
    folder = root / "models" / "timed"
    write(folder, GRADED + RUN + OUTPUTS + GRADE + ROUNDS)
    (folder / "fit.py").write_text("")
    with pytest.raises(TargetError, match=r"rounds.reference is reference, and there is no fit.py in it"):
        load_target("timed", root)
    (folder / "reference").mkdir()
    (folder / "reference" / "fit.py").write_text("")
    target = load_target("timed", root)
    assert target.grading is not None and target.grading.rounds is not None
    assert target.grading.rounds.make == ("python", "make.py") and "reference" in target.terms.closed
    (folder / "target.toml").write_text((GRADED + RUN + OUTPUTS + GRADE + ROUNDS).replace("make.py", "fit.py"))
    with pytest.raises(TargetError, match=r"rounds.make names fit.py, which editable allows to change"):
        load_target("timed", root)
