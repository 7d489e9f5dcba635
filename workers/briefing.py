"""What a worker is told: computed state of bounded size, never the raw log.

The values here are plain and frozen, so that a proposer is a function of its briefing and a test can write one by hand.
`Briefing.sha256` goes into the proposal's record: the receipt that this very state was read.
"""

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict

from swarm.records import Scalar


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Attempt(_Value):
    """One finished or claimed program other than the baseline, as a proposer needs to see it."""

    trial_id: str
    agent_id: str
    operator: str
    family: str
    description: str
    parent: str
    parent_loss: float | None
    constants: dict[str, Scalar]  # all declared constants of the program
    changed: dict[str, tuple[Scalar | None, Scalar | None]]  # against its parent
    loss: float | None  # mean over its replicates; None while it runs or if it failed
    replicates: int
    delta: float | None  # mean loss minus the parent's mean
    outcome: Literal["kept", "leading", "discarded", "inconclusive", "failed", "running"]
    reason: str | None = None  # why it failed
    peak_mib: int | None = None


class ProgramView(_Value):
    """A program that a proposer may build on."""

    trial_id: str
    source: str
    loss: float | None
    replicates: int
    constants: dict[str, Scalar]
    lineage: tuple[str, ...] = ()


class Briefing(_Value):
    study_id: str
    agent_id: str
    role: Literal["climber", "jumper"]
    program_text: str  # program.md
    editable: str
    metric: str
    read_seq: int
    sigma: float | None  # noise floor, None until it is measured
    incumbent: ProgramView
    alternatives: tuple[ProgramView, ...] = ()  # other good lineages, best first, at most 7
    attempts: tuple[Attempt, ...] = ()  # in the order of their claims
    nearest: tuple[str, ...] = ()  # trial ids most related to the incumbent; cite from these or from attempts
    cooled_families: tuple[str, ...] = ()
    diagnosis: str | None = None
    steering: tuple[str, ...] = ()
    refusal: str | None = None  # why the previous answer of this turn was refused
    memory_limit_mib: int | None = None
    seed: int  # for the proposer's own random choices
    attempts_left: int = 1

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
