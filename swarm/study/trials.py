"""A trial and a program, as the records of a study make them. Pure."""

from dataclasses import dataclass, field

from swarm.records import FailReason, ProposalClaimed, TrialFinished, TrialStarted, TrialState, VerdictReached
from swarm.target.objective import Objective


@dataclass(slots=True)
class Trial:
    """One training run of one program with one seed."""

    claim: ProposalClaimed
    objective: Objective
    started: TrialStarted | None = None
    finished: TrialFinished | None = None

    @property
    def trial_id(self) -> str:
        return self.claim.trial_id

    @property
    def state(self) -> TrialState:
        if self.finished is not None:
            return TrialState(self.finished.state)
        return TrialState.RUNNING if self.started is not None else TrialState.WAITING

    @property
    def cost(self) -> float | None:
        """What is compared, less is better; None while it runs and when it failed."""
        if self.finished is None or self.finished.validation_loss is None:
            return None
        return self.objective.cost(self.finished.validation_loss)

    @property
    def reason(self) -> FailReason | None:
        return self.finished.reason if self.finished is not None else None

    @property
    def commit(self) -> str | None:
        """As its records name it. Of the program's commit, ask `swarm.study.lineage`."""
        ended = self.finished.commit if self.finished is not None else None
        return ended or (self.started.commit if self.started is not None else None)

    @property
    def seconds(self) -> tuple[float, float] | None:
        """(start, end) of its run in epoch seconds, once both are known."""
        if self.started is None or self.finished is None:
            return None
        return self.started.at, self.finished.at


@dataclass(slots=True)
class Program:
    """All trials of one source text. Named by its first trial."""

    name: str
    parent: str | None
    trials: list[Trial] = field(default_factory=list)
    verdict: VerdictReached | None = None
    costs: list[float] = field(default_factory=list)
    """Of its trials in the search; those of the finals are apart, since only they count there."""

    @property
    def first(self) -> Trial:
        return self.trials[0]

    @property
    def mean(self) -> float | None:
        """Of its costs."""
        return sum(self.costs) / len(self.costs) if self.costs else None

    @property
    def open_trials(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.finished is None]
