"""The vocabulary of the records: what a trial, a proposal and a score are made of. Units stand in the names."""

from enum import StrEnum
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from swarm.records.text import Line

FORMAT_VERSION = 1
MAX_LINE_BYTES = 32 * 1024
MAX_DESCRIPTION = 300

Scalar: TypeAlias = bool | int | float | Line


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


class Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


BESIDE_TRAINING_S = 240.0
"""Of a walltime limit, for what is not counted in seconds as if alone: start-up, compiling, rungs, waits at a gate."""


class Budget(Value):
    """How much work one trial may do. `walltime_limit_s` is the kill limit, not a budget."""

    kind: Literal["solo_seconds", "seconds", "samples"]
    amount: float = Field(gt=0)
    walltime_limit_s: float = Field(gt=0)

    @property
    def words(self) -> str:
        """For people: `20 s of work`, `300 s` by the clock on the wall, `50,000 samples`."""
        match self.kind:
            case "solo_seconds":
                return f"{self.amount:g} s of work"
            case "seconds":
                return f"{self.amount:g} s"
            case "samples":
                return f"{self.amount:,.15g} samples"

    def for_tenants(self, tenants: int) -> "Budget":
        """With a kill limit that is long enough where so many share a device. Seconds as if alone may take each as many
        times as long; other budgets are as they are."""
        if self.kind != "solo_seconds":
            return self
        limit_s = max(self.walltime_limit_s, self.amount * tenants + BESIDE_TRAINING_S)
        return self.model_copy(update={"walltime_limit_s": limit_s})


class ObjectiveTerms(Value):
    """What a study optimises. How its numbers are compared and written: `swarm.target.objective`."""

    name: Line = Field(default="validation loss", min_length=1, max_length=40)
    unit: Line = Field(default="nats", max_length=20, description="empty where it has none")
    direction: Literal["minimize", "maximize"] = "minimize"
    digits: int = Field(default=4, ge=0, le=9, strict=True, description="after the point, in every text")


class Usage(Value):
    """What one call of a language model cost. Unknown is None and never zero."""

    model: Line | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    seconds: float | None = None
    calls: int = 1


class Proposal(Value):
    """One change to the program, before anything has run. A value, not a record: the claim records it."""

    operator: Operator
    family: Line = Field(description="what kind of change: optimiser, schedule, architecture, ...")
    description: Line = Field(min_length=1, max_length=MAX_DESCRIPTION)
    parent: Line = Field(description="trial id of the program that was edited")
    source: str = Field(description="the whole new text of the editable file")
    cites: tuple[Line, ...] = ()
    expects: float | None = Field(default=None, description="predicted change of the cost, negative is better")
    proposer: Line
    merged: tuple[Line, ...] = Field(default=(), description="trials whose changes it combines")
    made_on: Line | None = Field(default=None, description="trial that it was made on, if it was moved to its parent")
    changed_under: tuple[Line, ...] = Field(default=(), description="what it builds on that was otherwise where made")
    repairs: Line | None = Field(default=None, description="trial of the crashed program that it mends")
    usage: Usage | None = None
    briefing_tokens: int | None = Field(default=None, description="of the prompt, estimated; None if no model read one")
    shown: tuple[Line, ...] | None = Field(default=None, description="records in the prompt; None if no model read one")


class Score(Value):
    """Computed by the trusted scorer from the logits, or by a target's own grader; nothing in it comes from the
    candidate's own words, unless the study's grade says so. `validation_loss` is the objective's value."""

    validation_loss: float
    top1: float | None = Field(default=None, description="of images; None for other targets")
    top5: float | None = None
    calibrated_loss: float | None = None
    rows: int = Field(default=0, description="items that it was computed over; 0 is unknown")
    metrics: dict[Line, float] = Field(default_factory=dict, description="all numbers of a target's own grader")

    def metric(self, name: str) -> float | None:
        """A guard's or report's number; None where there is none."""
        sealed = {"top1": self.top1, "top5": self.top5, "calibrated_loss": self.calibrated_loss}
        return self.metrics.get(name, sealed.get(name))


class Resources(Value):
    """What a trial used and on what."""

    device: Line
    torch: Line | None = None
    threads: int | None = None
    steps: int | None = None
    samples: int | None = None
    solo_rate: float | None = Field(default=None, description="training images per solo second")
    training_s: float | None = Field(default=None, description="budget spent, in the budget's unit")
    wall_s: float | None = None
    waited_s: float | None = Field(default=None, description="between the request for memory and the lease")
    probe_s: float | None = Field(default=None, description="wall seconds of the three steps that measured its memory")
    compilation: Line | None = Field(default=None, description="what came of torch.compile, where it was asked")
    overhead_s: dict[Line, float] = Field(default_factory=dict, description="wall seconds outside training, itemised")
    reservation_mib: int | None = None
    reserved_by: Line | None = Field(default=None, description="evidence of the reservation: same_code, probe, ...")
    predicted_mib: int | None = Field(default=None, description="peak that the reservation was made for")
    peak_mib: int | None = Field(default=None, description="most memory of the device, without a CUDA context")
    host_peak_mib: int | None = Field(default=None, description="most RAM that one of its processes held")
    alloc_retries: int | None = None
    params_m: float | None = None
    co_tenants: tuple[Line, ...] = ()
    overlap_s: float | None = Field(default=None, description="seconds with at least one co-tenant")
