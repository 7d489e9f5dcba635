"""The records of what a study concludes: verdicts, a new incumbent, the finals."""

from typing import Literal

from pydantic import Field

from swarm.records.envelope import Record
from swarm.records.text import Line
from swarm.records.values import Decision, Value


class VerdictReached(Record):
    """What the study concluded about a program after one more of its trials."""

    kind: Literal["verdict"] = "verdict"
    trial_id: Line = Field(description="the trial whose result led to it")
    program: Line = Field(description="first trial of the judged program")
    parent: Line = Field(description="first trial of the program it is judged against")
    decision: Decision
    level: Literal["none", "provisional", "confirmed"]
    leads: bool = Field(description="it becomes what the workers build on")
    probability: float = Field(description="posterior probability of a lower cost than the parent's")
    probability_incumbent: float | None = Field(
        default=None, description="the same against the incumbent of the moment"
    )
    delta: float = Field(description="mean cost minus the parent's; negative is better")
    sigma: float
    replicates: int
    parent_replicates: int
    why: Line = Field(default="", max_length=500)
    own_sigma: float | None = Field(default=None, description="of this program's runs, shrunk towards the pooled sigma")
    parent_sigma: float | None = Field(default=None, description="the same of what it is judged against")
    noise_degrees: int | None = Field(default=None, description="degrees of freedom of the pooled sigma")
    image_error: float | None = Field(
        default=None, description="standard error of the difference over other images, where it was compared by image"
    )
    broken: tuple[Line, ...] = Field(default=(), description="guards that do not hold, or are in doubt")
    finals: int = Field(default=0, description="number of the finals that decided it; 0: a verdict of the search")
    degrees: int | None = Field(default=None, description="of the finals' Welch test, rounded down")
    p_value: float | None = Field(default=None, description="one-sided, of the finals' runs alone")
    level_needed: float | None = Field(default=None, description="what the p-value must not exceed")
    delta_low: float | None = Field(default=None, description="95 % interval of delta, from the finals' runs alone")
    delta_high: float | None = None


class IncumbentChanged(Record):
    """For readers of the file. State is derived by replay of verdicts, never from this record."""

    kind: Literal["incumbent_changed"] = "incumbent_changed"
    program: Line
    previous: Line
    why: Line = Field(default="", max_length=500)


class FinalsRound(Value):
    """Each of so many programs, and the baseline, runs so often."""

    programs: int = Field(ge=1)
    runs: int = Field(ge=1)


class FinalsOpened(Record):
    """The finals begin: from here on only their own runs count for what is kept."""

    kind: Literal["finals_opened"] = "finals_opened"
    number: int = Field(ge=1)
    finalists: tuple[Line, ...] = Field(description="programs, the most promising first")
    rounds: tuple[FinalsRound, ...]
    slots: int = Field(description="trials that they may take, failed ones among them")
    level: float = Field(description="p-value that one finalist may not exceed: the error over all of them, divided")


class FinalsClosed(Record):
    """The finals' end. The verdict on the winner is a record of its own."""

    kind: Literal["finals_closed"] = "finals_closed"
    number: int = Field(ge=1)
    winner: Line | None = Field(default=None, description="best in the last round; None when no finalist came so far")
    kept: bool = False
    baseline_early: float | None = Field(default=None, description="mean cost of the noise floor's runs")
    baseline_late: float | None = Field(default=None, description="mean cost of the baseline in these finals")
    drift_p: float | None = Field(default=None, description="two-sided, of equal means of the two")
    drifted: bool = Field(default=False, description="early and late baseline differ by more than chance explains")
    why: Line = Field(default="", max_length=500)
