"""What was spent on what: the numbers behind the cost figure and the report. Pure."""

from dataclasses import dataclass

from swarm.records import FailReason, Operator, ProposalClaimed, ProposalRejected, Usage
from swarm.study.state import Program, StudyState, Trial
from swarm.study.usage import total_usage
from swarm.verdict.attribution import ARM

BOUGHT = ("noise floor", "search", "replicates", "ended early", "failed", "attributions", "finals")
"""What a trial's time went into, each trial in one of them."""


@dataclass(frozen=True, slots=True)
class Bought:
    """Trials of one kind and their hours, each counted whole where several ran side by side."""

    word: str
    trials: int
    hours: float


def bought_by(study: StudyState, trial: Trial) -> str:
    """One of BOUGHT."""
    if trial.claim.finals:
        return "finals"
    if trial.reason is not None:
        return "ended early" if trial.reason is FailReason.PRUNED else "failed"
    if trial.claim.arm == ARM:
        return "attributions"
    if trial.claim.operator is Operator.BASELINE:
        return "noise floor"
    return "replicates" if study.program_of(trial.trial_id).first is not trial else "search"


def bought(study: StudyState) -> list[Bought]:
    """Of all ended trials, without what nothing was spent on."""
    groups: dict[str, list[Trial]] = {word: [] for word in BOUGHT}
    for trial in study.finished_trials():
        groups[bought_by(study, trial)].append(trial)
    return [Bought(word, len(own), sum(map(hours_of, own))) for word, own in groups.items() if own]


def hours_of(trial: Trial) -> float:
    """From the grant of the memory to the result; 0 where that is not known."""
    span = trial.seconds
    return max(0.0, span[1] - span[0]) / 3600 if span is not None else 0.0


def busy_hours(study: StudyState) -> float:
    """In which at least one trial ran."""
    spans = sorted(trial.seconds for trial in study.trials.values() if trial.seconds is not None)
    busy, until = 0.0, float("-inf")
    for start, end in spans:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return busy / 3600


def calls_of(study: StudyState) -> list[tuple[float, str, Usage]]:
    """(moment, arm, usage) of each call of a model that the study recorded, whatever came of it, oldest first."""
    records: list[ProposalClaimed | ProposalRejected] = [t.claim for t in study.trials.values()]
    records += study.rejections
    found = [(record.at, record.arm or record.proposer, record.usage) for record in records if record.usage is not None]
    return sorted(found, key=lambda call: call[0])


def price_of(program: Program) -> Usage | None:
    """Of the call that proposed it; None where no model did."""
    return total_usage([trial.claim.usage for trial in program.trials if trial.claim.usage is not None])
