"""What is written down: the records of the brain and the study's vocabulary.

Every record is frozen, and one record is one line of `swarm_brain.jsonl`. The envelope (`v` to `prev`) is filled in by
`swarm.brain` at the moment of the append; a record made by anybody else carries the defaults. All records have the
three keys of the original two-agent run, `agent_id`, `validation_loss` and `description`.

Units stand in the names: `_s` seconds, `_mib` MiB. Losses are mean cross-entropies in nats. A missing number is None
and never zero; a failed trial has a reason and no loss.
"""

from enum import StrEnum
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

FORMAT_VERSION = 1
MAX_LINE_BYTES = 32 * 1024
MAX_DESCRIPTION = 300

Scalar: TypeAlias = bool | int | float | str


class TrialState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


class FailReason(StrEnum):
    OUT_OF_MEMORY = "out_of_memory"
    INFEASIBLE = "infeasible"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    DIVERGED = "diverged"
    PRUNED = "pruned"
    INVALID_OUTPUT = "invalid_output"
    HARNESS_MODIFIED = "harness_modified"
    OVER_BUDGET = "over_budget"
    ABANDONED = "abandoned"


class Decision(StrEnum):
    KEEP = "keep"
    DISCARD = "discard"
    INCONCLUSIVE = "inconclusive"


class Operator(StrEnum):
    """How a proposal was made; the search policy spends trials by operator."""

    BASELINE = "baseline"  # the unchanged program: the noise floor
    TUNE = "tune"  # another value of a declared constant
    STRUCTURAL = "structural"  # an edit of the program's code
    RECOMBINE = "recombine"  # two good changes of different lineages in one program
    ABLATE = "ablate"  # one kept edit left out
    REPLICATE = "replicate"  # the same program again on a fresh seed


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Budget(_Value):
    """How much work one trial may do. `walltime_limit_s` is the kill limit, not a budget."""

    kind: Literal["solo_seconds", "seconds", "samples"]
    amount: float = Field(gt=0)
    walltime_limit_s: float = Field(gt=0)


class Usage(_Value):
    """What one call of a language model cost. Unknown is None and never zero."""

    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    seconds: float | None = None
    calls: int = 1


class Proposal(_Value):
    """One change to the program, before anything has run. A value, not a record: the claim records it."""

    operator: Operator
    family: str = Field(description="what kind of change: optimiser, schedule, architecture, ...")
    description: str = Field(min_length=1, max_length=MAX_DESCRIPTION)
    parent: str = Field(description="trial id of the program that was edited")
    source: str = Field(description="the whole new text of the editable file")
    cites: tuple[str, ...] = ()
    expects: float | None = Field(default=None, description="predicted change of the metric, negative is better")
    proposer: str
    merged: tuple[str, ...] = Field(default=(), description="trials whose changes it combines")
    usage: Usage | None = None
    briefing_tokens: int | None = Field(default=None, description="of the prompt, estimated; None if no model read one")
    shown: tuple[str, ...] | None = Field(default=None, description="records in the prompt; None if no model read one")


class Score(_Value):
    """Computed by the trusted scorer from the logits; nothing in it comes from the candidate's own words."""

    validation_loss: float
    top1: float
    top5: float
    calibrated_loss: float
    rows: int


class Resources(_Value):
    """What a trial used and on what."""

    device: str
    torch: str | None = None
    threads: int | None = None
    steps: int | None = None
    samples: int | None = None
    solo_rate: float | None = Field(default=None, description="training images per solo second")
    training_s: float | None = Field(default=None, description="budget spent, in the budget's unit")
    wall_s: float | None = None
    waited_s: float | None = Field(default=None, description="between the request for memory and the lease")
    probe_s: float | None = Field(default=None, description="wall seconds of the three steps that measured its memory")
    overhead_s: dict[str, float] = Field(default_factory=dict, description="wall seconds outside training, itemised")
    reservation_mib: int | None = None
    reserved_by: str | None = Field(default=None, description="evidence of the reservation: same_code, probe, ...")
    peak_mib: int | None = Field(default=None, description="most memory of the device, without a CUDA context")
    host_peak_mib: int | None = Field(default=None, description="most RAM that one of its processes held")
    alloc_retries: int | None = None
    params_m: float | None = None
    co_tenants: tuple[str, ...] = ()
    overlap_s: float | None = Field(default=None, description="seconds with at least one co-tenant")


class Record(_Value):
    """The envelope. `seq` counts lines from 1, `prev` is the SHA-256 of the line before."""

    kind: str
    agent_id: str = "orchestrator"
    study_id: str = ""
    description: str = Field(default="", max_length=MAX_DESCRIPTION)
    validation_loss: float | None = None
    v: int = FORMAT_VERSION
    seq: int = 0
    id: str = ""
    at: float = Field(default=0.0, description="seconds since the epoch, by the writer's clock; order is by seq")
    prev: str = ""


class StudyOpened(Record):
    kind: Literal["study_opened"] = "study_opened"
    target: str
    target_folder: str = Field(description="relative to the repository")
    editable: str = Field(description="the one file that may change, relative to the target's folder")
    base_commit: str
    base_tree_sha256: str
    objective_sha256: str = Field(description="metric, budget, data and editable file, hashed at the start")
    harness_sha256: str
    program_sha256: str = Field(description="of program.md as it was at the start")
    budget: Budget
    data: str = Field(description="cifar100, or standin: procedural images, no claim about CIFAR-100")
    classes: int
    device: str
    device_name: str
    workers: int
    seed: int
    memory: Literal["shared", "own", "off", "shuffled"] = "shared"
    noise_replicates: int = Field(ge=2)
    trials: int | None = None
    deadline_at: float | None = None
    version: str = ""


class WorkerStatus(Record):
    kind: Literal["worker_status"] = "worker_status"
    status: Literal[
        "started", "proposing", "waiting", "training", "scoring", "cooling", "stopped", "restarted", "crashed"
    ]
    trial_id: str | None = None
    pid: int | None = None


class ProposalClaimed(Record):
    """A trial begins to exist. `trial_id` is given by the brain under its lock."""

    kind: Literal["proposal_claimed"] = "proposal_claimed"
    trial_id: str = ""
    operator: Operator
    family: str
    parent: str | None = Field(description="trial id of the parent program; None for the baseline")
    program: str = Field(default="", description="trial id of the first trial of the same program; own id if first")
    parent_tree_sha256: str | None = None
    tree_sha256: str
    constants_changed: dict[str, tuple[Scalar | None, Scalar | None]] = Field(default_factory=dict)
    lines_added: int = 0
    lines_removed: int = 0
    source_lines: int = Field(default=0, description="of the editable file; 0 is unknown")
    seed: int
    read_seq: int = Field(description="the brain that the proposal was made on")
    briefing_sha256: str | None = None
    briefing_tokens: int | None = None
    cites: tuple[str, ...] = ()
    nearest: tuple[str, ...] = Field(default=(), description="related records that the briefing showed")
    expects: float | None = None
    proposer: str
    arm: str = ""
    usage: Usage | None = None
    warnings: tuple[str, ...] = ()
    merged: tuple[str, ...] = Field(default=(), description="trials whose changes were combined")


class ProposalRejected(Record):
    """Refused before it cost a second of training."""

    kind: Literal["proposal_rejected"] = "proposal_rejected"
    code: str = Field(
        description="gate or proposer code: duplicate, near_duplicate, no_change, syntax, llm_failed, ..."
    )
    detail: str = Field(max_length=2000)
    operator: Operator | None = None
    family: str | None = None
    parent: str | None = None
    read_seq: int | None = None
    briefing_sha256: str | None = None
    cites: tuple[str, ...] = ()
    proposer: str
    arm: str = ""
    usage: Usage | None = None
    repeats: str | None = Field(default=None, description="the earlier trial that it repeats")


class TrialStarted(Record):
    kind: Literal["trial_started"] = "trial_started"
    trial_id: str
    commit: str
    attempt: int = 1
    reservation_mib: int
    lease_id: str
    device_uuid: str
    supervisor_pid: int | None = None
    alone: bool = False


class TrialFinished(Record):
    """A trial's only ending. `validation_loss` in the envelope is the scorer's number."""

    kind: Literal["trial_finished"] = "trial_finished"
    trial_id: str
    state: Literal[TrialState.COMPLETE, TrialState.FAILED]
    reason: FailReason | None = None
    detail: str = Field(default="", max_length=2000)
    score: Score | None = None
    resources: Resources | None = None
    seed: int
    commit: str | None = None
    attempts: int = 1
    harness_sha256: str | None = None
    sandbox: str | None = None
    flags: tuple[str, ...] = Field(default=(), description="stale, tta, cap_lifted, harness_touched, self_report, ...")
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


class VerdictReached(Record):
    """What the study concluded about a program after one more of its trials."""

    kind: Literal["verdict"] = "verdict"
    trial_id: str = Field(description="the trial whose result led to it")
    program: str = Field(description="first trial of the judged program")
    parent: str = Field(description="first trial of the program it is judged against")
    decision: Decision
    level: Literal["none", "provisional", "confirmed"]
    leads: bool = Field(description="it becomes what the workers build on")
    probability: float = Field(description="posterior probability of a lower loss than the parent's")
    probability_incumbent: float | None = Field(
        default=None, description="the same against the incumbent of the moment"
    )
    delta: float = Field(description="mean loss minus the parent's; negative is better")
    sigma: float
    replicates: int
    parent_replicates: int
    why: str = Field(default="", max_length=500)


class IncumbentChanged(Record):
    """For readers of the file. State is derived by replay of verdicts, never from this record."""

    kind: Literal["incumbent_changed"] = "incumbent_changed"
    program: str
    previous: str
    why: str = Field(default="", max_length=500)


class Note(Record):
    """A finding that other workers should read, or a diagnosis."""

    kind: Literal["note"] = "note"
    topic: str = "finding"
    trial_id: str | None = None
    detail: str = Field(default="", max_length=4000)


class Steer(Record):
    """A person's word, given while the study runs."""

    kind: Literal["steer"] = "steer"
    action: Literal["veto", "allow", "pin", "boost", "budget", "stop", "note"]
    subject: str = Field(default="", description="family, constant, trial id or arm that it is about")
    value: float | None = None


class StudyClosed(Record):
    kind: Literal["study_closed"] = "study_closed"
    reason: str


class History(Record):
    """A line of the original format: just agent_id, validation_loss and description."""

    kind: Literal["history"] = "history"


class UnknownRecord(Record):
    """A kind from a newer version: kept, shown and skipped."""

    model_config = ConfigDict(frozen=True, extra="allow")


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
