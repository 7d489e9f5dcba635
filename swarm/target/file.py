"""A target: a folder with a `target.toml` and the one program that may be edited.

name = "resnext"
description = "CIFAR-100, a small ResNeXt"
editable = ["train.py"]
classes = 100

[objective]
name = "validation loss"
unit = "nats"
direction = "minimize"
digits = 4

[profile.cpu]
budget_kind = "samples"
budget = 6000
walltime_limit_s = 120
memory_mib = 1500
threads = 1

[profile.cpu.constants]
WIDTH = 16
"""

import json
import os
import tomllib
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from swarm.errors import TargetError
from swarm.program import constants
from swarm.records import Budget, Scalar
from swarm.target.objective import Objective

MODELS = PurePosixPath("models")

_Amount = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
_Count = Annotated[int, Field(gt=0, strict=True)]


def _is_scalar(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise ValueError("a number, a boolean or a string")
    return value


_Literal = Annotated[Scalar, BeforeValidator(_is_scalar)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Profile(_Table):
    """What one trial may use on one kind of device."""

    budget_kind: Literal["samples", "seconds", "solo_seconds"]
    budget: _Amount
    walltime_limit_s: _Amount
    memory_mib: _Count = Field(description="first reservation, before any measurement")
    threads: _Count
    constants: dict[str, _Literal] = Field(default_factory=dict)

    @property
    def trial_budget(self) -> Budget:
        return Budget(kind=self.budget_kind, amount=self.budget, walltime_limit_s=self.walltime_limit_s)


class Profiles(_Table):
    cpu: Profile
    gpu: Profile


class _File(_Table):
    """`target.toml`, key by key."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")
    description: str = ""
    editable: tuple[str] = Field(description="one file, relative to the folder")
    objective: Objective = Objective()
    classes: int = Field(ge=2, strict=True)
    profile: Profiles

    @field_validator("editable")
    @classmethod
    def _inside_the_folder(cls, editable: tuple[str]) -> tuple[str]:
        path = PurePosixPath(editable[0])
        if path.is_absolute() or ".." in path.parts or path.suffix != ".py":
            raise ValueError("a Python file inside the target's folder, such as train.py")
        return editable

    @field_validator("objective")
    @classmethod
    def _is_scored(cls, objective: Objective) -> Objective:
        """A study that maximised the one number that trials give would keep the worst programs."""
        if objective.maximized:
            raise ValueError("trials are scored by their validation loss, which is minimized")
        return objective


class Target(_Table):
    name: str
    description: str
    folder: PurePosixPath = Field(description="relative to the repository")
    editable: PurePosixPath = Field(description="the one file that may change, relative to the folder")
    objective: Objective
    classes: int
    profiles: Profiles

    @property
    def editable_path(self) -> PurePosixPath:
        """The editable file relative to the repository."""
        return self.folder / self.editable

    def base_source(self, source: str, profile: Profile) -> str:
        """The study's first program: the committed text with the profile's constants set in it.

        Raises TargetError if the program does not declare one of them.
        """
        try:
            return constants.assign(source, profile.constants)
        except TargetError as error:
            raise TargetError(f"{self.editable_path} does not go with its target.toml: {error}") from error


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
        read = _File.model_validate(table)
    except ValidationError as error:
        raise TargetError(_explain(str(shown), error)) from error
    editable = folder / read.editable[0]
    if not editable.is_file() or not editable.resolve().is_relative_to(folder):
        raise TargetError(f"{shown}: editable = {json.dumps(read.editable)}: there is no such file in {shown.parent}")
    return Target(
        name=read.name,
        description=read.description,
        folder=PurePosixPath(shown.parent),
        editable=PurePosixPath(read.editable[0]),
        objective=read.objective,
        classes=read.classes,
        profiles=read.profile,
    )


def available_targets(repo_root: Path) -> list[str]:
    """Names of the folders below models/ that hold a target.toml."""
    return sorted(path.parent.name for path in (repo_root / MODELS).glob("*/target.toml"))


def _folder(name_or_path: str, root: Path) -> Path:
    is_name = name_or_path not in ("", ".", "..") and "/" not in name_or_path
    candidates = [root / MODELS / name_or_path] if is_name else [Path(name_or_path), root / name_or_path]
    folder = next((path.resolve() for path in candidates if (path / "target.toml").is_file()), None)
    if folder is None:
        names = ", ".join(available_targets(root)) or "none"
        what = f"{MODELS}/{name_or_path}/target.toml" if is_name else f"{name_or_path}/target.toml"
        raise TargetError(
            f"there is no target {name_or_path!r}: {what} does not exist. Targets in {MODELS}/: {names}. "
            "A folder elsewhere in the repository is given as a path with a slash, such as ./my-target."
        )
    if not folder.is_relative_to(root) or folder == root:
        raise TargetError(f"the target {name_or_path!r} is {folder}, which is not a folder below the repository {root}")
    return folder


def _explain(file: str, error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        problems.append(f"{file}: {key}: {_problem(problem['type'], problem['msg'], problem['input'], key)}")
    return "\n".join(problems)


def _problem(kind: str, message: str, value: Any, key: str) -> str:
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return f"is not a key; allowed here: {', '.join(_keys_beside(key))}"
    return f"is {json.dumps(value, default=str)}: {message.removeprefix('Value error, ')}"


def _keys_beside(key: str) -> list[str]:
    match key.split("."):
        case ["profile", _]:
            return sorted(Profiles.model_fields)
        case ["profile", *_]:
            return sorted(Profile.model_fields)
        case ["objective", *_]:
            return sorted(Objective.model_fields)
    return sorted(_File.model_fields)
