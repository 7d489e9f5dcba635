"""The kinds of records. One record is one line of the brain; `parse_record` gives it back."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from swarm.records.envelope import Record
from swarm.records.judging import FinalsClosed, FinalsOpened, IncumbentChanged, VerdictReached
from swarm.records.terms import TargetTerms
from swarm.records.text import Block, Line, safe_to_print
from swarm.records.values import (
    Budget,
    FailReason,
    ObjectiveTerms,
    Operator,
    Resources,
    Scalar,
    Score,
    TrialState,
    Usage,
)


class StudyOpened(Record):
    kind: Literal["study_opened"] = "study_opened"
    target: Line
    target_folder: Line = Field(description="relative to the repository")
    editable: Line = Field(description="the file that may change, relative to the target's folder, or its globs")
    base_commit: Line
    base_tree_sha256: Line
    objective: ObjectiveTerms = ObjectiveTerms()
    objective_sha256: Line = Field(description="objective, budget, data and editable file, hashed at the start")
    harness_sha256: Line
    program_sha256: Line = Field(description="of program.md as it was at the start")
    budget: Budget
    data: Line = Field(description="cifar100 or standin: procedural images; kjv, text-HASH or standin-text")
    classes: int
    device: Line
    device_name: Line
    workers: int
    seed: int
    memory: Literal["shared", "own", "off", "shuffled"] = "shared"
    noise_replicates: int = Field(ge=2)
    trials: int | None = None
    deadline_at: float | None = None
    finals: Literal["auto", "off", "now"] = Field(default="off", description="whether slots are held for the finals")
    changes: tuple[Line, ...] = Field(default=(), description="what a person changed when it went on: max_usd: 5 -> 8")
    version: Line = ""
    terms: TargetTerms = TargetTerms()


class WorkerStatus(Record):
    kind: Literal["worker_status"] = "worker_status"
    status: Literal[
        "started", "proposing", "waiting", "training", "scoring", "cooling", "stopped", "restarted", "crashed"
    ]
    trial_id: Line | None = None
    pid: int | None = None


class ProposalClaimed(Record):
    """A trial begins to exist. `trial_id` is given by the brain under its lock."""

    kind: Literal["proposal_claimed"] = "proposal_claimed"
    trial_id: Line = ""
    operator: Operator
    family: Line
    parent: Line | None = Field(description="trial id of the parent program; None for the baseline")
    program: Line = Field(default="", description="trial id of the first trial of the same program; own id if first")
    parent_tree_sha256: Line | None = None
    tree_sha256: Line
    constants_changed: dict[Line, tuple[Scalar | None, Scalar | None]] = Field(default_factory=dict)
    lines_added: int = 0
    lines_removed: int = 0
    source_lines: int = Field(default=0, description="of the editable file; 0 is unknown")
    seed: int
    read_seq: int = Field(description="the brain that the proposal was made on")
    briefing_sha256: Line | None = None
    briefing_tokens: int | None = None
    cites: tuple[Line, ...] = ()
    nearest: tuple[Line, ...] = Field(default=(), description="related records that the briefing showed")
    expects: float | None = None
    proposer: Line
    arm: Line = ""
    usage: Usage | None = None
    warnings: tuple[Line, ...] = ()
    merged: tuple[Line, ...] = Field(default=(), description="trials whose changes were combined")
    left_out: tuple[Line, ...] = Field(
        default=(), description="trials whose changes were taken out of the parent, by an attribution"
    )
    made_on: Line | None = Field(
        default=None, description="trial of the program that the edit was made on, where it was moved to its parent"
    )
    changed_under: tuple[Line, ...] = Field(
        default=(),
        description="functions and constants that the edit changes or reads and that are otherwise where it was made: "
        "it may not mean here what it meant there",
    )
    repairs: Line | None = Field(default=None, description="trial of the crashed program that it mends")
    memory: Line = Field(
        default="",
        description="what memory the lot gave its briefing: shared, shuffled or off; empty where no lot was drawn",
    )
    finals: int = Field(default=0, description="number of the finals that it is a run of; 0: a trial of the search")
    finals_round: int = Field(default=0, description="round of those finals, from 1")


class ProposalRejected(Record):
    """Refused before it cost a second of training."""

    kind: Literal["proposal_rejected"] = "proposal_rejected"
    code: Line = Field(
        description="gate or proposer code: duplicate, near_duplicate, no_change, syntax, llm_failed, ..."
    )
    detail: Block = Field(max_length=2000)
    operator: Operator | None = None
    family: Line | None = None
    parent: Line | None = None
    read_seq: int | None = None
    briefing_sha256: Line | None = None
    cites: tuple[Line, ...] = ()
    proposer: Line
    arm: Line = ""
    usage: Usage | None = None
    repeats: Line | None = Field(default=None, description="the earlier trial that it repeats")
    repairs: Line | None = Field(default=None, description="trial of the crashed program that it was to mend")
    merged: tuple[Line, ...] = Field(default=(), description="trials whose changes it was to combine")
    memory: Line = Field(
        default="",
        description="what memory the lot gave its briefing: shared, shuffled or off; empty where no lot was drawn",
    )


class TrialStarted(Record):
    kind: Literal["trial_started"] = "trial_started"
    trial_id: Line
    commit: Line
    attempt: int = 1
    reservation_mib: int
    lease_id: Line
    device_uuid: Line
    supervisor_pid: int | None = None
    alone: bool = False
    node: Line = Field(default="", description="the node that runs it; empty on the machine of the study")
    device_class: Line = Field(default="", description="model of the card, or of the processor; empty: not recorded")


class TrialFinished(Record):
    """A trial's only ending. `validation_loss` in the envelope is the scorer's number: the objective's value."""

    kind: Literal["trial_finished"] = "trial_finished"
    trial_id: Line
    state: Literal[TrialState.COMPLETE, TrialState.FAILED]
    reason: FailReason | None = None
    detail: Block = Field(default="", max_length=2000)
    score: Score | None = None
    resources: Resources | None = None
    seed: int
    commit: Line | None = None
    attempts: int = 1
    harness_sha256: Line | None = None
    sandbox: Line | None = None
    flags: tuple[Line, ...] = Field(default=(), description="stale, tta, cap_lifted, harness_touched, self_report, ...")
    curve: tuple[tuple[float, float], ...] = Field(default=(), description="(progress, training loss)")
    rungs: tuple[tuple[float, float], ...] = Field(default=(), description="(progress, loss on the rung slice)")
    audit: bool = Field(default=False, description="early stopping would have ended it; it went on as a check")

    @model_validator(mode="after")
    def _score_or_reason(self) -> "TrialFinished":
        if self.state == TrialState.COMPLETE and (self.score is None or self.reason is not None):
            raise ValueError("a complete trial has a score and no reason")
        if self.state == TrialState.FAILED and (self.score is not None or self.reason is None):
            raise ValueError("a failed trial has a reason and no score")
        return self


class Note(Record):
    """A finding that other workers should read, or a diagnosis."""

    kind: Literal["note"] = "note"
    topic: Line = "finding"
    trial_id: Line | None = None
    detail: Block = Field(default="", max_length=4000)


class Steer(Record):
    """A person's word, given while the study runs."""

    kind: Literal["steer"] = "steer"
    action: Literal["veto", "allow", "pin", "boost", "budget", "stop", "note"]
    subject: Line = Field(default="", description="family, constant, trial id or arm that it is about")
    value: float | None = None


class StudyClosed(Record):
    kind: Literal["study_closed"] = "study_closed"
    reason: Line


class History(Record):
    """A line of the original format: just agent_id, validation_loss and description."""

    kind: Literal["history"] = "history"


class UnknownRecord(Record):
    """A kind from a newer version: kept, shown and skipped. Its own fields are as safe to print as all others."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _safe(cls, fields: object) -> object:
        return safe_to_print(fields)


KNOWN_KINDS: dict[str, type[Record]] = {
    model.model_fields["kind"].default: model
    for model in (
        StudyOpened,
        WorkerStatus,
        ProposalClaimed,
        ProposalRejected,
        TrialStarted,
        TrialFinished,
        VerdictReached,
        IncumbentChanged,
        FinalsOpened,
        FinalsClosed,
        Note,
        Steer,
        StudyClosed,
        History,
    )
}

_ORIGINAL_KEYS: frozenset[str] = frozenset({"agent_id", "validation_loss", "description"})


def parse_record(fields: dict[str, Any]) -> Record:
    """The record of one decoded line.

    Raises ValueError (pydantic's ValidationError is one) when the line is not a record of ours. A line with only the
    three original keys is history. An unknown kind gives an UnknownRecord.
    """
    kind = fields.get("kind")
    if kind is None:
        missing_keys = _ORIGINAL_KEYS - fields.keys()
        if missing_keys:
            missing = ", ".join(sorted(missing_keys))
            raise ValueError(f"not a record: no kind, and no {missing}")
        return History.model_validate({**fields, "kind": "history"})
    model = KNOWN_KINDS.get(str(kind), UnknownRecord)
    return model.model_validate(fields)
