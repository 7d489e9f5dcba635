"""A target: a folder with a `target.toml` that says what may be edited, how a program is run, and what its number is.

name = "resnext"
description = "CIFAR-100, a small ResNeXt"
editable = ["train.py"]
classes = 100

[objective]
name = "validation loss"
unit = "nats"
direction = "minimize"
digits = 4

[budget]
kind = "work"

[profile.cpu]
budget = 20
walltime_limit_s = 120
memory_mib = 1500
threads = 1

[profile.cpu.constants]
WIDTH = 16
"""

import json
import os
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from swarm.errors import TargetError, UnknownTarget
from swarm.program import constants
from swarm.records import Grading, Rounds, TargetTerms
from swarm.target.files import require_files
from swarm.target.objective import Objective
from swarm.target.tables import (
    BYTES,
    BudgetTable,
    GradeTable,
    GuardTable,
    Harness,
    Limits,
    OutputTable,
    PrepareTable,
    Profile,
    Profiles,
    RoundsTable,
    Run,
    ShownTable,
    Table,
    TargetFile,
    TestTable,
)

MODELS = PurePosixPath("models")
SEALED_BYTES = 24 * 1024


class Target(Table):
    name: str
    description: str
    folder: PurePosixPath = Field(description="relative to the repository; a point where it is the repository")
    objective: Objective
    harness: Harness = Field(description="images where the target is not sealed, and never asked")
    classes: int = Field(description="0 where the target has none")
    budget: BudgetTable
    profiles: Profiles
    terms: TargetTerms
    grading: Grading | None = Field(description="of a target that is not sealed")
    prepare: PrepareTable | None = Field(default=None, description="what is made once per machine")

    @property
    def editable(self) -> str:
        """What may change, as one text: the file, or the globs."""
        return ", ".join(self.terms.editable)

    def base_source(self, source: str, profile: Profile) -> str:
        """The study's first program: the committed text with the profile's constants set in it.

        Raises TargetError if the program does not declare one of them.
        """
        try:
            return constants.assign(source, profile.constants)
        except TargetError as error:
            raise TargetError(f"{self.folder / self.editable} does not go with its target.toml: {error}") from error


def load_target(name_or_path: str | os.PathLike[str], repo_root: Path) -> Target:
    """Reads `models/<name>/target.toml` for a bare name, else the target.toml of the folder at that path.

    A relative path is taken from the current directory and then from the repository. Raises TargetError, which names
    the file, the key, its value and what is allowed.
    """
    root = repo_root.resolve()
    folder = _folder(os.fspath(name_or_path), root)
    path = folder / "target.toml"
    shown = path.relative_to(root)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TargetError(f"{shown} cannot be read: {error}") from error
    try:
        read = TargetFile.model_validate(table)
    except ValidationError as error:
        raise TargetError(_explain(str(shown), error)) from error
    require_files(_terms(read), _grading(read), folder, str(shown))
    return Target(
        name=read.name,
        description=read.description,
        folder=PurePosixPath(shown.parent),
        objective=read.objective,
        harness=read.harness or "images",
        classes=BYTES if read.harness == "text" else read.classes or 0,
        budget=read.budget,
        profiles=read.profile,
        terms=_terms(read),
        grading=_grading(read),
        prepare=read.prepare,
    )


def available_targets(repo_root: Path) -> list[str]:
    """Names of the folders below models/ that hold a target.toml."""
    return sorted(path.parent.name for path in (repo_root / MODELS).glob("*/target.toml"))


def _terms(read: TargetFile) -> TargetTerms:
    sealed = read.measured == "sealed"
    return TargetTerms(
        grade=read.measured,
        editable=read.editable,
        closed=_closed(_grading(read)),
        max_files=1 if sealed else read.limits.files,
        max_bytes=SEALED_BYTES if sealed else read.limits.bytes,
        noise=read.noise,
        guards=read.guard,
        reports=read.report,
        has_test=sealed or read.test is not None,
    )


def _closed(grading: Grading | None) -> tuple[str, ...]:
    if grading is None:
        return ()
    reference = grading.rounds.reference if grading.rounds else ""
    folders = (grading.inputs, grading.private, grading.test_inputs, grading.test_private, reference)
    return tuple(dict.fromkeys(folder for folder in folders if folder))


def _grading(read: TargetFile) -> Grading | None:
    if read.run is None:
        return None
    test, rounds = read.test, read.rounds
    return Grading(
        run=tuple(shlex.split(read.run.command)),
        grade=tuple(shlex.split(read.grade.command)) if read.grade else (),
        metric=read.objective.key,
        outputs=read.run.outputs,
        read=read.run.read,
        inputs=read.run.inputs,
        test_inputs=test.inputs if test else "",
        test_private=test.private if test else "",
        rounds=Rounds(count=rounds.count, make=tuple(shlex.split(rounds.make)), reference=rounds.reference)
        if rounds
        else None,
        **_of_grader(read.grade),
    )


def _of_grader(grade: GradeTable | None) -> dict[str, Any]:
    if grade is None:
        return {}
    return {
        "private": grade.private,
        "grade_limit_s": grade.limit_s,
        "environment": grade.environment,
        "stand_in_without": grade.stand_in_without,
        "secret": grade.secret,
    }


def _folder(name_or_path: str, root: Path) -> Path:
    is_name = name_or_path not in ("", ".", "..") and "/" not in name_or_path
    candidates = [root / MODELS / name_or_path] if is_name else [Path(name_or_path), root / name_or_path]
    folder = next((path.resolve() for path in candidates if (path / "target.toml").is_file()), None)
    if folder is None:
        names = ", ".join(available_targets(root)) or "none"
        what = f"{MODELS}/{name_or_path}/target.toml" if is_name else f"{name_or_path}/target.toml"
        raise UnknownTarget(
            f"there is no target {name_or_path!r}: {what} does not exist. Targets in {MODELS}/: {names}. "
            "A folder elsewhere in the repository is given as a path with a slash, such as ./my-target, and the "
            "repository's own as a point. Write a target.toml there."
        )
    if not folder.is_relative_to(root):
        raise TargetError(f"the target {name_or_path!r} is {folder}, which is not a folder below the repository {root}")
    return folder


def _explain(file: str, error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        said = _problem(problem["type"], problem["msg"], problem["input"], key)
        problems.append(f"{file}: {key}: {said}" if key else f"{file}: {said}")
    return "\n".join(problems)


_MOVED = {"budget_kind": 'it is kind in [budget] now: "work", "time" or "samples"'}


def _problem(kind: str, message: str, value: Any, key: str) -> str:
    if kind == "missing":
        return f"is missing{_MISSING.get(key, '')}"
    if kind == "extra_forbidden":
        moved = _MOVED.get(key.rpartition(".")[2])
        return f"is not a key; {moved or 'allowed here: ' + ', '.join(_keys_beside(key))}"
    if not key:
        return message.removeprefix("Value error, ")
    return f"is {json.dumps(value, default=str)}: {message.removeprefix('Value error, ')}"


_MISSING = {"budget": ': what a trial\'s budget counts, such as [budget] kind = "work"'}


def _keys_beside(key: str) -> list[str]:
    match key.split("."):
        case ["profile", _]:
            return sorted(Profiles.model_fields)
        case ["profile", *_]:
            return sorted(Profile.model_fields)
        case ["run", "outputs", *_]:
            return sorted(OutputTable.model_fields)
        case [table, _, *_] if table in _TABLES:
            return sorted(_TABLES[table].model_fields)
    return sorted(TargetFile.model_fields)


_TABLES: Mapping[str, type[BaseModel]] = {
    "objective": Objective,
    "budget": BudgetTable,
    "limits": Limits,
    "guard": GuardTable,
    "report": ShownTable,
    "rounds": RoundsTable,
    "run": Run,
    "grade": GradeTable,
    "prepare": PrepareTable,
    "test": TestTable,
}
