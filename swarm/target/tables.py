"""`target.toml`, key by key: what may stand in it, and what has to go together."""

import re
import shlex
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from swarm.records import Budget, Grade, Guard, NoiseKind, Output, Scalar, Shown
from swarm.target.objective import Objective

BudgetWord = Literal["work", "time", "samples"]
_KINDS: dict[str, Literal["solo_seconds", "seconds", "samples"]] = {
    "work": "solo_seconds",
    "time": "seconds",
    "samples": "samples",
}
BYTES = 256  # a token of the harness for text
BUILT_IN = ("run.seconds", "run.cpu_seconds", "run.peak_mib")
"""Metrics of a command that the supervisor measures from outside; no program can say them."""
Harness = Literal["images", "text"]
SEALED_METRICS: dict[Harness, tuple[str, ...]] = dict.fromkeys(("images", "text"), ("top1", "top5", "calibrated_loss"))
"""What the scorer of a sealed harness gives beside the objective."""

_Amount = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
_Count = Annotated[int, Field(gt=0, strict=True)]


def _is_scalar(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise ValueError("a number, a boolean or a string")
    return value


_Literal = Annotated[Scalar, BeforeValidator(_is_scalar)]


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GuardTable(Guard):
    model_config = ConfigDict(extra="forbid")


class ShownTable(Shown):
    model_config = ConfigDict(extra="forbid")


class OutputTable(Output):
    model_config = ConfigDict(extra="forbid")


class Profile(Table):
    """What one trial may use on one kind of device."""

    budget: _Amount
    walltime_limit_s: _Amount
    memory_mib: _Count = Field(description="first reservation, before any measurement")
    threads: _Count
    constants: dict[str, _Literal] = Field(default_factory=dict)


class Profiles(Table):
    cpu: Profile
    gpu: Profile


class BudgetTable(Table):
    kind: BudgetWord = Field(
        description="work: seconds as if the trial were alone (CPU seconds on a CPU); time: wall seconds; samples: "
        "what the harness of a sealed target counts"
    )

    def of(self, profile: Profile) -> Budget:
        return Budget(kind=_KINDS[self.kind], amount=profile.budget, walltime_limit_s=profile.walltime_limit_s)


class Limits(Table):
    files: _Count = Field(default=16, le=64, description="editable files at most")
    bytes: _Count = Field(default=64 * 1024, le=256 * 1024, description="of all of them together")


def _relative(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or any(part in ("..", ".git") for part in parts):
        raise ValueError("a path inside the target's folder, such as inputs")
    return str(PurePosixPath(path))


_Inside = Annotated[str, BeforeValidator(_relative)]


def _command(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"not a command: {error}") from error
    if not words:
        raise ValueError("not a command: it is empty")
    return text


_Command = Annotated[str, AfterValidator(_command)]


_FileName = Annotated[str, Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,79})?$")]


def _is_passable(name: str) -> str:
    if name in _OURS or name.startswith(("LD_", "PYTHON", "SWARM_TRIAL")) or not _VARIABLE.fullmatch(name):
        raise ValueError(f"{name!r} is no variable to hand on: capitals, digits and _, and none set here anyway")
    return name


_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,79}")
_OURS = ("PATH", "HOME", "USER", "TMPDIR", "SWARM_SEED", "SWARM_CHANNEL")
_Variable = Annotated[str, AfterValidator(_is_passable)]


class Run(Table):
    """The command of a target that is not sealed, run in the sandbox in a copy of the target's folder."""

    command: _Command = Field(min_length=1, description="split as a shell would, but no shell runs it")
    inputs: _Inside = Field(default="inputs", description="folder that it may read, as all that is not private")
    outputs: tuple[OutputTable, ...] = Field(default=(), description="files that it leaves in outputs/")
    read: tuple[str, ...] = Field(default=(), description="absolute paths of data outside of the repository")

    @field_validator("read")
    @classmethod
    def _is_absolute(cls, read: tuple[str, ...]) -> tuple[str, ...]:
        if relative := [path for path in read if not path.startswith("/") or path == "/"]:
            raise ValueError(f"{relative[0]!r} must be an absolute path; the target's folder is there anyway")
        return read


class GradeTable(Table):
    """The command that makes the number, run after the first one is dead, out of its reach."""

    command: _Command = Field(min_length=1, description="prints one JSON object: metrics, valid, why, per_item")
    private: _Inside = Field(default="private", description="folder that only the grader sees")
    limit_s: _Amount = Field(default=120.0, description="after which it is killed")
    environment: tuple[_Variable, ...] = Field(
        default=(), description="variables of yours, such as a key, that the grader alone gets"
    )
    stand_in_without: str = Field(
        default="", description="one of environment: without it the grader uses a stand-in, and all numbers say so"
    )
    secret: _FileName = Field(
        default="", description="a file in the private folder that holds a random key of this clone, 64 hex digits"
    )

    @model_validator(mode="after")
    def _is_listed(self) -> "GradeTable":
        if self.stand_in_without and self.stand_in_without not in self.environment:
            raise ValueError(f"stand_in_without is {self.stand_in_without!r}: name one of environment")
        return self


class RoundsTable(Table):
    """For a program that is timed: `run` goes so often, beside a fixed program, each time with new inputs."""

    count: int = Field(ge=2, le=20, strict=True, description="of the command, and of the fixed program, in turn")
    make: _Command = Field(
        min_length=1, description="command that makes rounds/1/inputs and so on; it sees what grade sees"
    )
    reference: _Inside = Field(default="reference", description="folder of the fixed program's editable files")


class PrepareTable(Table):
    """A trusted command that makes, once per machine, what a graded target cannot keep in a repository: data that no
    program may know, a model that everybody starts from."""

    command: _Command = Field(min_length=1, description="makes inputs/, private/ and those of [test], once per machine")
    files: tuple[str, ...] = Field(
        default=("**/*",), min_length=1, description="globs of what it sees of the target, never an editable file"
    )
    data: Harness | None = Field(
        default=None, description="data of a sealed harness, made first; their folder is in SWARM_DATA_DIR"
    )
    limit_s: _Amount = Field(default=900.0, description="after which it is killed")


class TestTable(Table):
    """What `swarm certify` alone uses, in place of `inputs` and `private`."""

    inputs: _Inside
    private: _Inside


class TargetFile(Table):
    """The whole file."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")
    description: str = ""
    harness: Harness | None = Field(
        default=None, description="of a sealed target: what its programs train on; images without it"
    )
    classes: int | None = Field(default=None, ge=2, strict=True, description="of the harness for images")
    editable: tuple[str, ...] = Field(min_length=1, description="globs of files, relative to the folder")
    limits: Limits = Limits()
    objective: Objective = Objective()
    guard: tuple[GuardTable, ...] = Field(default=(), description="`[[guard]]`: name, op, limit; failing means no keep")
    report: tuple[ShownTable, ...] = Field(default=(), description="`[[report]]`: name, unit; shown and nothing else")
    noise: NoiseKind = Field(default="seeds", description="where equal programs differ")
    budget: BudgetTable
    profile: Profiles
    run: Run | None = Field(default=None, description="without it the target is sealed: a harness runs its program")
    grade: GradeTable | None = Field(
        default=None, description="without it what `run` prints is the number: self-reported"
    )
    rounds: RoundsTable | None = Field(default=None, description="of a graded target whose command is timed")
    prepare: PrepareTable | None = Field(default=None, description="what a graded target makes once per machine")
    test: TestTable | None = Field(default=None, description="a graded target's second data, for `swarm certify`")

    @field_validator("grade", mode="before")
    @classmethod
    def _is_a_table(cls, grade: object) -> object:
        if isinstance(grade, str):
            raise ValueError('a table, [grade] command = "...": what a target has of [run] and [grade] says its grade')
        return grade

    @field_validator("editable")
    @classmethod
    def _inside_the_folder(cls, editable: tuple[str, ...]) -> tuple[str, ...]:
        for glob in editable:
            parts = PurePosixPath(glob).parts
            if glob.startswith("/") or not parts or ".." in parts or any(part.startswith(".") for part in parts):
                raise ValueError("files inside the target's folder, such as train.py or lib/**/*.py, and no dot files")
        return editable

    @model_validator(mode="after")
    def _goes_together(self) -> "TargetFile":
        problem = self._sealed_problem() if self.run is None else self._command_problem(self.run)
        if problem is not None:
            raise ValueError(problem)
        known = self.known_metrics
        names = [*(one.name for one in self.guard), *(one.name for one in self.report)]
        if known is not None and (strange := [name for name in names if name not in known]):
            raise ValueError(
                f"guard or report {strange[0]!r} is no number that this target's scorer gives: {', '.join(known)}"
            )
        if doubled := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{doubled!r} is a guard or a report twice: name each number once")
        return self

    @property
    def measured(self) -> Grade:
        """Who makes the number: the harness, a command of the target's own, or the program itself."""
        if self.run is None:
            return "sealed"
        return "self-reported" if self.grade is None else "graded"

    @property
    def known_metrics(self) -> tuple[str, ...] | None:
        """Of a sealed target; None where a grader or a command names its own."""
        return SEALED_METRICS[self.harness or "images"] if self.run is None else None

    def _sealed_problem(self) -> str | None:
        given = [name for name in ("grade", "rounds", "prepare", "test") if getattr(self, name) is not None]
        if given:
            return f"[{given[0]}] is there and [run] is missing: give the command that runs the program"
        if len(self.editable) != 1 or not self.editable[0].endswith(".py") or "*" in self.editable[0]:
            return f"editable is {list(self.editable)}: a sealed target has one Python file, such as train.py"
        if self.objective.maximized:
            return "objective.direction is maximize: the harness scores a validation loss, which is minimized"
        if self.noise != "seeds":
            return f"noise is {self.noise}: runs of a sealed target differ by their seeds"
        if self.harness == "text":
            return None if self.classes is None else "classes is of images: leave it out, a text has bytes"
        return "classes is missing: how many the images have" if self.classes is None else None

    def _command_problem(self, run: Run) -> str | None:
        if self.harness is not None or self.classes is not None:
            return "[run] is there, and harness and classes are of sealed targets: leave them out"
        if self.budget.kind == "samples":
            return "budget.kind is samples, which only the harness of a sealed target counts: work or time"
        return self._printed_problem(run) if self.grade is None else self._grader_problem(run)

    def _grader_problem(self, run: Run) -> str | None:
        return None if run.outputs else "run.outputs is empty: the grader sees nothing but declared outputs"

    def _printed_problem(self, run: Run) -> str | None:
        beyond = (self.test, self.rounds, self.prepare)
        if run.outputs or any(table is not None for table in beyond):
            return "rounds, prepare, test and run.outputs are for a grader: give [grade] command, or leave them out"
        return "noise is items: a printed number has no items; set seeds" if self.noise != "seeds" else None
