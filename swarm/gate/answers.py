"""What the gate is told and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from swarm.records import Scalar, TrialState

Code = Literal[
    "too_large",
    "syntax",
    "contract",
    "scope",
    "seeding",
    "no_change",
    "duplicate",
    "near_duplicate",
    "vetoed",
    "share",
    "unchecked",
]


@dataclass(frozen=True, slots=True)
class Tried:
    """A program that the study has claimed before, finished or not."""

    trial_id: str
    tree_sha256: str
    parent_tree_sha256: str | None
    constants_changed: Mapping[str, tuple[Scalar | None, Scalar | None]]
    state: TrialState


@dataclass(frozen=True, slots=True)
class Passed:
    """`warnings` are for the record and for the proposer's next turn; they refuse nothing."""

    tree_sha256: str
    constants_changed: dict[str, tuple[Scalar | None, Scalar | None]]
    lines_added: int
    lines_removed: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """`detail` says which line or trial is in the way and what to change; `repeats` is that trial's id."""

    code: Code
    detail: str
    repeats: str | None = None
