"""How fast a study goes and when it and its trials end, from its own past. Pure; all of it is an estimate."""

import math
from collections.abc import Sequence
from statistics import median

from swarm.study.state import StudyState, Trial
from swarm.verdict import plan, slots
from swarm.verdict.finals import open_finals, where
from swarm.verdict.replication import contenders
from swarm.watch.frame import End, Finals

RECENT = 20  # endings that a pace is taken from
EARLY = 0.03  # of the work: before it, what is done says nothing about the rest


def trials_an_hour(study: StudyState, now: float) -> float | None:
    """Over the last RECENT endings since the study was opened, or opened again. None without an ending."""
    ends = [end for trial in study.finished_trials() if (end := _ended_at(trial)) >= study.opened.at]
    if not ends:
        return None
    since = ends[-RECENT - 1] if len(ends) > RECENT else study.opened.at
    until = study.closed.at if study.closed is not None else max(now, ends[-1])
    count = min(len(ends), RECENT)
    return 3600 * count / (until - since) if until > since else None


def forecast(study: StudyState, rate: float | None, spent: tuple[float, float] | None, now: float) -> End | None:
    """Which limit ends the study, and when. `rate` in trials an hour; `spent`: USD so far and the most, if limited.

    None for a study that has ended, or that no limit ends as far as one can tell.
    """
    opened, limits = study.opened, study.limits
    if study.closed is not None:
        return None
    ends = [End(limits.deadline_at, "hours")] if limits.deadline_at is not None else []
    if limits.trials is not None and rate:
        ended = sum(trial.finished is not None for trial in study.trials.values())
        ends.append(End(now + 3600 * max(0, limits.trials - ended) / rate, "trials"))
    if spent is not None and spent[0] > 0 and now > opened.at:
        usd, most = spent
        ends.append(End(now + max(0.0, most - usd) * (now - opened.at) / usd, "spend"))
    return min(ends, key=lambda end: end.at, default=None)


def finals_ahead(study: StudyState, rate: float | None, now: float) -> Finals | None:
    """The finals that run, or that a limit on trials or hours brings. `rate` in trials an hour.

    None where none follow: they are off, nobody contends, too few slots are held, or no limit says when.
    """
    opened, limits, going = study.opened, study.limits, open_finals(study)
    if study.closed is not None:
        return None
    if going is not None:
        ended = sum(t.claim.finals == going.number and t.finished is not None for t in study.trials.values())
        return _finals(study, None, max(plan.runs(going.rounds) - ended, len(where(study, going).owed)), now)
    if opened.finals != "auto":
        return None
    found = []
    if limits.trials is not None and rate and (held := slots.held_now(study)):
        ended = sum(trial.finished is not None for trial in study.trials.values())
        found.append(_finals(study, now + 3600 * max(0, limits.trials - held - ended) / rate, held, now))
    runs = plan.runs(plan.rounds(slots.slots_due(study), len(contenders(study))))
    takes_s = slots.seconds(study, runs, opened.workers)
    if limits.deadline_at is not None and runs and takes_s is not None:
        most_s = float(plan.SHARE) * (limits.deadline_at - opened.at)  # as the orchestrator gives them
        found.append(_finals(study, max(now, limits.deadline_at - min(takes_s, most_s)), runs, now))
    return min(found, key=lambda finals: finals.begins_at or now, default=None)


def _finals(study: StudyState, begins_at: float | None, runs: int, now: float) -> Finals:
    takes_s = slots.seconds(study, runs, study.opened.workers)
    return Finals(begins_at, runs, None if takes_s is None else (begins_at or now) + takes_s)


def ends_in_s(trial: Trial, progress: float | None, past: Sequence[float], now: float) -> float | None:
    """Until the end of a running trial: by its own progress once it has some, else by the wall seconds of earlier
    trials. `past`: wall seconds of complete trials."""
    if trial.started is None:
        return None
    ran = max(0.0, now - trial.started.at)
    usual = median(past) if past else None
    if progress is not None and progress >= EARLY:
        by_progress = ran * (1 - progress) / progress
        rest = 0.0 if usual is None else min(usual, max(0.0, usual - ran / progress))  # scoring
        return by_progress + rest
    return None if usual is None else max(0.0, usual - ran)


def fraction(number: float) -> float | None:
    """A share that a candidate wrote; None for what is none."""
    return min(1.0, max(0.0, number)) if math.isfinite(number) else None


def _ended_at(trial: Trial) -> float:
    return trial.finished.at if trial.finished is not None else -math.inf
