"""The terms of a target that go with a study: how its number is made, what may be edited, what else must hold."""

from typing import Literal

from pydantic import Field

from swarm.records.text import Line
from swarm.records.values import Value

Grade = Literal["sealed", "graded", "self-reported"]
"""Who makes the number: the harness, the target's own grader out of the candidate's reach, or the candidate."""
NoiseKind = Literal["seeds", "items", "both"]
Op = Literal["<=", "<", ">=", ">"]
OutputKind = Literal["npy", "json", "text"]

MAX_OUTPUT_BYTES = 64 << 20


class Guard(Value):
    """A second number with a limit: a program that breaks it is not kept, however good its objective is."""

    name: Line = Field(min_length=1, max_length=40)
    op: Op
    limit: float = Field(allow_inf_nan=False)

    def __str__(self) -> str:
        return f"{self.name} {self.op} {self.limit:g}"


class Shown(Value):
    """A number that is shown beside the objective and decides nothing."""

    name: Line = Field(min_length=1, max_length=40)
    unit: Line = Field(default="", max_length=20, description="empty where it has none")


class TargetTerms(Value):
    """What a study was opened with. The grade is part of a study's identity: no number of one grade is ever compared
    with one of another."""

    grade: Grade = "sealed"
    editable: tuple[Line, ...] = Field(default=(), description="globs of what may change; empty: the one file")
    closed: tuple[Line, ...] = Field(default=(), description="folders of the target in which nothing may change")
    max_files: int = Field(default=1, ge=1)
    max_bytes: int = Field(default=24 * 1024, ge=1, description="of all editable files together")
    noise: NoiseKind = "seeds"
    guards: tuple[Guard, ...] = ()
    reports: tuple[Shown, ...] = ()
    has_test: bool = Field(default=True, description="there is a test split for `swarm certify`")


class Output(Value):
    """One file that the command leaves in outputs/, and the only form in which it is taken."""

    name: Line = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}$")
    type: OutputKind
    dtype: Line = Field(default="", description="of an npy array, such as float64; empty is any number")
    shape: tuple[int, ...] | None = Field(default=None, description="of an npy array; -1 is any length")
    max_bytes: int = Field(default=1 << 20, ge=1, le=MAX_OUTPUT_BYTES)


class Rounds(Value):
    """The command is run so often, each time beside a fixed program, as fresh processes with new inputs."""

    count: int = Field(ge=2, le=20, description="of the command, and of the fixed program, in turn")
    make: tuple[str, ...] = Field(min_length=1, description="command, already split, which makes the inputs")
    reference: str = Field(description="folder of the fixed program, which takes the place of the editable files")


class Grading(Value):
    """How a trial of a target that is not sealed is run and graded. Folders are relative to the target's."""

    run: tuple[str, ...] = Field(min_length=1, description="command, already split")
    grade: tuple[str, ...] = Field(default=(), description="command; empty where the number is self-reported")
    metric: Line = Field(description="the objective's name among the metrics")
    outputs: tuple[Output, ...] = ()
    read: tuple[str, ...] = Field(default=(), description="absolute paths that the command may read besides")
    grade_limit_s: float = Field(default=120.0, gt=0)
    environment: tuple[str, ...] = Field(default=(), description="variables that the grader gets, and nothing else")
    stand_in_without: str = Field(default="", description="variable without which the grader uses a stand-in")
    secret: str = Field(default="", description="file in the private folder with a random key of this clone")
    inputs: str = "inputs"
    private: str = "private"
    test_inputs: str = ""
    test_private: str = ""
    rounds: Rounds | None = Field(default=None, description="of a target whose command is timed")
