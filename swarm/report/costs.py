"""What the study cost: hours of the device, and the models."""

from swarm.report.figures.spending import bought, busy_hours, calls_of
from swarm.report.section import Section
from swarm.report.words import hours, many, price
from swarm.study.state import StudyState
from swarm.study.usage import total_usage, usages_of
from swarm.verdict.standing import GAINS, standing


def cost_line(study: StudyState) -> str:
    """All of it in one line."""
    ended = [trial.finished.at for trial in study.trials.values() if trial.finished is not None]
    lasted = (max(ended) - study.opened.at) / 3600 if ended else 0.0
    groups = bought(study)
    device = f"{hours(busy_hours(study))} of the device ({hours(sum(group.hours for group in groups))} of trials)"
    return f"{hours(lasted)} from the first line to the last trial; {device}; {price(total_usage(usages_of(study)))}"


def device_time(study: StudyState) -> Section:
    """What the hours of trials went into."""
    groups = bought(study)
    total = sum(group.hours for group in groups) or 1.0
    rows = tuple((g.word, str(g.trials), hours(g.hours), f"{g.hours / total:.0%}") for g in groups)
    note = f"{cost_line(study)}. Trials that ran side by side count whole here."
    return Section(
        "What it cost", note if rows else "", ("for", "trials", "time", "share"), rows, "No trial has ended."
    )


def models(study: StudyState) -> Section:
    """Calls of language models by arm, with what became of what they proposed."""
    calls = calls_of(study)
    rows = []
    for arm in sorted({name for _, name, _ in calls}):
        own = [usage for _, name, usage in calls if name == arm]
        programs = [p for p in study.programs.values() if (p.first.claim.arm or p.first.claim.proposer) == arm]
        gains = sum(standing(study, program) in GAINS for program in programs)
        refused = sum((one.arm or one.proposer) == arm for one in study.rejections)
        rows.append((arm, price(total_usage(own)), str(len(programs)), str(refused), str(gains)))
    columns = ("arm", "cost", "programs", "refused", "led or kept")
    note = f"{many(len(calls), 'record')} with a cost."
    return Section("Language models", note if rows else "", columns, tuple(rows), "No language model was asked.")
