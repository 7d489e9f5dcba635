"""The six questions of the morning, answered from the record."""

from collections.abc import Iterator

from swarm.report.costs import cost_line
from swarm.report.evidence import NOTHING, Evidence
from swarm.report.figures.style import warning_of
from swarm.report.integrity import chain
from swarm.report.results import Result, certified, certified_text, headline, results
from swarm.report.section import Section
from swarm.report.summary import summarize
from swarm.report.words import many
from swarm.study.state import StudyState
from swarm.verdict.standing import Standing

QUESTIONS = ("What won?", "By how much?", "Is it real?", "What did it cost?", "What failed?", "How do I get it?")


def answers(study: StudyState, evidence: Evidence = NOTHING) -> Section:
    found = results(study, evidence)
    best = found[0] if found else None
    told = (
        headline(found) if best is None else _won(best),
        "By nothing that is shown." if best is None else f"{best.program} is {best.claim}.",
        " ".join(_real(study, best, evidence)),
        f"{cost_line(study)}.",
        _failed(study),
        f"swarm adopt {best.program} --study {study.study_id}" if best is not None else "There is nothing to get.",
    )
    return Section("At a glance", "", ("question", "answer"), tuple(zip(QUESTIONS, told, strict=True)))


def _won(best: Result) -> str:
    if best.standing is Standing.KEPT:
        return f"{best.program}: {best.description}"
    return f"Nothing is kept yet. {best.program} leads: {best.description}"


def _real(study: StudyState, best: Result | None, evidence: Evidence) -> Iterator[str]:
    if best is None:
        yield "There is nothing to prove."
    elif best.standing is Standing.KEPT:
        yield "Yes, as far as runs on fresh seeds beside the baseline tell: only they count for what is kept."
    elif study.finals_ends:
        yield "Not shown: the finals could not tell it from the baseline."
    else:
        yield "Not shown yet: no finals were run, and a lead is mostly luck. swarm finals decides."
    if best is not None and (one := certified(evidence, best.program)) is not None:
        yield f"Certified: {certified_text(study, one)}."
    if (warning := warning_of(study)) is not None:
        yield f"{warning}."
    yield f"Grade {study.opened.terms.grade}; the chain of the record {chain(evidence)}."


def _failed(study: StudyState) -> str:
    told = summarize(study)
    failed = sum(count for reason, count in told.failed.items() if reason != "pruned")
    reasons = ", ".join(f"{count} {reason}" for reason, count in told.failed.items() if reason != "pruned")
    discarded = sum(row.standing is Standing.DISCARDED for row in told.ranking)
    parts = [f"{many(discarded, 'program')} did not help", f"{many(failed, 'trial')} failed"]
    parts[-1] += f" ({reasons})" if reasons else ""
    parts.append(f"{many(told.failed.get('pruned', 0), 'trial')} ended early")
    parts.append(f"{many(sum(told.refused.values()), 'proposal')} refused")
    return f"{'; '.join(parts)}."
