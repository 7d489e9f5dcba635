"""The plain, frozen values that a proposer is told."""

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict

from swarm.records import Block, Budget, Line, Scalar, TargetTerms
from swarm.target.objective import Objective
from swarm.verdict.standing import GAINS, WITHOUT_RESULT, Standing

Memory = Literal["shared", "own", "off", "shuffled"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Attempt(_Value):
    """One finished or claimed program other than the baseline, as a proposer needs to see it. Costs: less is better."""

    trial_id: str
    agent_id: Line
    operator: Line
    family: Line
    description: Line
    parent: str
    parent_cost: float | None
    constants: dict[str, Scalar]  # all declared constants of the program
    changed: dict[Line, tuple[Scalar | None, Scalar | None]]  # against its parent
    cost: float | None  # mean over its replicates; None while it runs or if it failed
    replicates: int
    delta: float | None  # mean cost minus the parent's mean
    standing: Standing
    reason: str | None = None  # why it failed
    failure: Block = ""  # what its last failed run said of it, where it says more than the reason
    peak_mib: int | None = None

    @property
    def helped(self) -> bool:
        return self.standing in GAINS

    @property
    def failed(self) -> bool:
        return self.standing in WITHOUT_RESULT

    @property
    def running(self) -> bool:
        return self.standing is Standing.RUNNING


class ProgramView(_Value):
    """A program that a proposer may build on."""

    trial_id: str
    source: str
    cost: float | None
    replicates: int
    constants: dict[str, Scalar]
    lineage: tuple[str, ...] = ()  # its ancestors, oldest first
    peak_mib: int | None = None


class Facts(_Value):
    """How a program ran: numbers of its last scored run, and means of its scores. None is unknown."""

    top1: float | None = None
    calibrated_loss: float | None = None
    steps: int | None = None
    samples: int | None = None
    images_per_s: float | None = None  # as if alone
    wall_s: float | None = None
    params_m: float | None = None
    compilation: Line | None = None
    curve: tuple[tuple[float, float], ...] = ()  # (progress, training loss), some points of it
    rungs: tuple[tuple[float, float], ...] = ()  # (progress, loss on the rung slice)


class Shown(_Value):
    """Another program's change, as text: against its parent, or, of one that was refused, against the incumbent."""

    trial_id: str
    diff: str


class EarlierResult(_Value):
    """One program of an earlier study of the same target. Its costs are of that study's time and machine."""

    study_id: str
    constants: dict[str, Scalar]
    cost: float
    baseline_cost: float  # of that study
    replicates: int
    structure: tuple[str, ...] = ()  # trials of its line that changed more than constants


class Conflict(_Value):
    """Two good changes that touch the same lines: that of `theirs` is to be worked into the incumbent."""

    ours: str
    theirs: str
    description: Line
    diff: str  # of `theirs` against the youngest program that both were made from

    @property
    def pair(self) -> tuple[str, str]:
        return self.ours, self.theirs


class Crash(_Value):
    """A program of the proposer's own that failed in its own code, to be mended once."""

    trial_id: str
    source: str
    diff: str  # against its parent
    failure: Block


class Briefing(_Value):
    study_id: str
    agent_id: str
    role: Literal["climber", "jumper"]
    program_text: str  # program.md
    editable: str
    terms: TargetTerms = TargetTerms()
    objective: Objective
    read_seq: int
    sigma: float | None  # noise floor, None until it is measured
    incumbent: ProgramView  # the program to change; after a restart the best one of another lineage
    left: str | None = None  # the study's incumbent, if a restart or a jump has left it
    jumped: bool = False  # the program to change is one that the proposer itself has asked for
    alternatives: tuple[ProgramView, ...] = ()  # other good lineages, best first, at most 7
    attempts: tuple[Attempt, ...] = ()  # in the order of their claims
    earlier: tuple[EarlierResult, ...] = ()  # for samplers; no model is shown them
    nearest: tuple[str, ...] = ()  # trial ids most related to the incumbent; cite from these or from attempts
    cooled_families: tuple[Line, ...] = ()
    diagnosis: Line | None = None
    steering: tuple[Line, ...] = ()
    findings: tuple[Line, ...] = ()  # notes of other workers, newest last
    conflict: Conflict | None = None  # what is asked for in place of a change of one's own
    refusal: Line | None = None  # why the previous answer of this turn was refused
    refused: str | None = None  # that answer, as a diff against the program to change
    crash: Crash | None = None  # what is asked for in place of a new change: the repair of one's own
    diffs: tuple[Shown, ...] = ()  # of some of the nearest, most related first
    looked_at: Shown | None = None  # the one that the proposer has asked for
    may_ask: bool = False  # for a look or a jump, in place of a change
    facts: Facts = Facts()
    device: Line = ""  # what it runs on
    data: Line = ""
    memory_limit_mib: int | None = None
    workers: int = 1  # how many share the device
    budget: Budget | None = None
    seed: int  # for the proposer's own random choices
    attempts_left: int = 1
    lot: Memory | None = None  # what memory the lot has given this briefing; None where none was drawn

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
