"""How the incumbent moved: who led, and with what mean cost, after each record of a study. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from swarm.records import TrialFinished, VerdictReached
from swarm.study.state import StudyState, lineage_after


@dataclass(frozen=True, slots=True)
class Step:
    """From record `seq` on (epoch seconds `at`), `program` was the incumbent with this mean cost over `runs`."""

    seq: int
    at: float
    program: str
    mean: float
    runs: int


def trajectory(study: StudyState) -> list[Step]:
    """Every change of the incumbent or of its mean, oldest first; empty before the baseline's first result."""
    base = study.baseline
    if base is None:
        return []
    costs: dict[str, list[float]] = {}
    lineage: tuple[str, ...] = ()
    steps: list[Step] = []
    for event in _events(study):
        if isinstance(event, TrialFinished):
            cost = study.trials[event.trial_id].cost
            if cost is not None and not study.trials[event.trial_id].claim.finals:
                costs.setdefault(study.program_of(event.trial_id).name, []).append(cost)
        else:
            lineage = lineage_after(lineage, event)
        leader = lineage[-1] if lineage else base.name
        runs = costs.get(leader, [])
        if not runs:
            continue
        step = Step(event.seq, event.at, leader, sum(runs) / len(runs), len(runs))
        if not steps or (steps[-1].program, steps[-1].runs) != (step.program, step.runs):
            steps.append(step)
    return steps


def incumbent_before(study: StudyState, seq: int) -> Step | None:
    """The incumbent as a writer of record `seq` knew it."""
    return next((step for step in reversed(trajectory(study)) if step.seq < seq), None)


def _events(study: StudyState) -> Iterator[TrialFinished | VerdictReached]:
    events: list[TrialFinished | VerdictReached] = [*study.verdicts]
    events += [trial.finished for trial in study.trials.values() if trial.finished is not None]
    yield from sorted(events, key=lambda event: event.seq)
