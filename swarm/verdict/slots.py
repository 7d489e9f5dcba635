"""How the slots of a study are shared between its search and its finals. Pure."""

from math import ceil
from statistics import median

from swarm.study.state import StudyState
from swarm.verdict import plan
from swarm.verdict.finals import open_finals
from swarm.verdict.replication import contenders


def may_search(study: StudyState, *, hold: bool = True) -> bool:
    """Whether a study may claim one more trial for its search.

    With `hold` a fifth of the trials since the last finals is held, as long as finals could decide something.
    """
    limit = study.limits.trials
    if open_finals(study) is not None:
        return False
    if limit is None:
        return True
    made = len(study.trials)
    held = _held(study, limit) if hold else 0
    return made < limit - held or (made < limit and not contenders(study))


def held_now(study: StudyState) -> int:
    """Slots of a running study that nothing but its finals may take, as long as somebody contends in the end."""
    limit, opened = study.limits.trials, study.opened
    if limit is None or opened.finals != "auto" or study.closed is not None or open_finals(study) is not None:
        return 0
    return _held(study, limit)


def slots_due(study: StudyState) -> int:
    """Slots of the finals that follow if the search ends now: a quarter of its trials since the last finals, within
    the study's limit. 0 where that decides nothing."""
    due = plan.after(len(study.trials) - _before_this_night(study))
    if (limit := study.limits.trials) is not None:
        due = min(due, limit - len(study.trials))
    return due if due >= plan.FEWEST_SLOTS and contenders(study) else 0


def asked_for(study: StudyState) -> int:
    """Slots of the finals that a person asks for, in a run of their own; 0 when this run has had them."""
    if study.finals and study.finals[-1].seq > study.opened.seq:
        return 0
    return max(plan.BY_DEFAULT, plan.after(len(study.trials)))


def seconds(study: StudyState, runs: int, workers: int) -> float | None:
    """About how long so many runs take, side by side: by the median trial so far. None before the first one."""
    spans = [span for trial in study.trials.values() if trial.cost is not None and (span := trial.seconds) is not None]
    if not spans:
        return None
    one = median(end - start for start, end in spans)
    return one * (ceil(runs / workers) + 1)  # one more: a round waits for its last run


def _held(study: StudyState, limit: int) -> int:
    """Slots held for the finals; none where too few are left for them, as after a limit was raised a little."""
    left = limit - len(study.trials)
    held = min(plan.held(limit - _before_this_night(study)), left)
    return held if held >= plan.FEWEST_SLOTS else 0


def _before_this_night(study: StudyState) -> int:
    """Trials up to the end of the last finals."""
    ends = [end.seq for end in study.finals_ends.values()]
    return sum(trial.claim.seq < max(ends) for trial in study.trials.values()) if ends else 0
