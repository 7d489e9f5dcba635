"""What a worker may be asked to do. A `Merge` is to put what two workers found into one program, a `Run` is one of the
finals.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from swarm.verdict.finals import Run
from swarm.verdict.merges import Merge

Role = Literal["climber", "jumper"]

LLM = "llm"  # the arm of a language model, whichever it is; that of another one beside it is llm:NAME
SCRIPTED = "scripted"  # the arm that replays a script


def is_model(arm: str) -> bool:
    """Whether it takes its time and costs something: no arm that answers at once."""
    return arm == LLM or arm.startswith(f"{LLM}:")


@dataclass(frozen=True, slots=True)
class BaselineReplicate:
    """Run the unchanged program once more: the noise floor is not measured yet."""


@dataclass(frozen=True, slots=True)
class Replicate:
    """Run a program, named by its first trial, on a fresh seed."""

    program: str


@dataclass(frozen=True, slots=True)
class Propose:
    """Let an arm propose a change. `seed` differs between workers and between turns; `restart` asks for a change of the
    best other lineage in place of the incumbent. `repair` names a program of the arm's own that crashed, to be mended;
    `conflict` asks for two changes in one program that touch the same lines; `told` is why what the arm had in hand
    came to nothing."""

    arm: str
    role: Role
    seed: int
    cooled_families: tuple[str, ...] = ()
    diagnosis: str | None = None
    restart: bool = False
    conflict: Merge | None = None
    told: str | None = None
    repair: str | None = None


Assignment: TypeAlias = BaselineReplicate | Replicate | Merge | Propose | Run
