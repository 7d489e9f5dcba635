"""What the study found, as values: each result with its claim, what that rests on, and how to get it.

A claim is made only of what the finals kept, from the finals' runs alone. What leads is shown without one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from swarm.records import Decision, VerdictReached
from swarm.report.evidence import NOTHING, Evidence
from swarm.report.figures.spending import hours_of
from swarm.report.words import between, hours, many, moment, price
from swarm.study.lineage import ancestors
from swarm.study.state import Program, StudyState, Trial
from swarm.study.usage import total_usage
from swarm.verdict import study_noise
from swarm.verdict.certificate import Certified
from swarm.verdict.finals import deciding_costs, finals_costs
from swarm.verdict.guards import judge_guards
from swarm.verdict.interval import half_width
from swarm.verdict.standing import Standing, in_order, is_simplification, standing

MOST = 12
SMALLEST_P = 1e-9
NOT_PROVEN = "a lead and no claim: the runs that made it lead flatter it"


@dataclass(frozen=True, slots=True)
class Step:
    """One edit on the way to a result; `diff` is empty where the text is not there."""

    program: str
    description: str
    diff: str


@dataclass(frozen=True, slots=True)
class Result:
    """One program. `facts` are (name, text); `change` is its diff against the baseline, empty where it is not there."""

    program: str
    standing: Standing
    description: str
    claim: str
    facts: tuple[tuple[str, str], ...]
    adopt: str
    change: str
    without: str
    steps: tuple[Step, ...]


def results(study: StudyState, evidence: Evidence = NOTHING) -> list[Result]:
    """What is kept, the best first; where nothing is, what leads."""
    ranked = in_order(study)
    for word in (Standing.KEPT, Standing.LEADING):
        chosen = [program for program in ranked if standing(study, program) is word]
        if chosen:
            return [_result(study, program, word, evidence) for program in chosen[:MOST]]
    return []


def headline(found: Sequence[Result]) -> str:
    """The results of a study in one or two sentences."""
    if not found:
        return "Nothing has beaten the unchanged program."
    best = found[0]
    if best.standing is Standing.KEPT:
        more = f" Kept too: {', '.join(one.program for one in found[1:])}." if len(found) > 1 else ""
        return f"{best.program} is kept: {best.claim}.{more}"
    return f"Nothing is kept yet. {best.program} leads, which is no claim."


def claim_of(study: StudyState, program: Program) -> str:
    """How much better, and how sure that is."""
    verdict = program.verdict
    assert verdict is not None  # it is kept or leads
    runs = f"over {many(verdict.replicates, 'run')} against {verdict.parent_replicates}"
    if verdict.finals:
        proven = _shorter(verdict) if verdict.decision is Decision.KEEP else "; not proven"
        return f"{_gain(study, verdict)}, {_interval(study, verdict)}, {runs}, all of the finals{proven}"
    said = f"{_gain(study, verdict)}{_by_noise(study, verdict)} {runs} of {verdict.parent}{_than_base(study, program)}"
    return f"{said}, P(better) {verdict.probability:.2f}; {NOT_PROVEN}"


def adopt_command(study: StudyState, program: str) -> str:
    return f"swarm adopt {program} --study {study.study_id}"


def certified(evidence: Evidence, program: str) -> Certified | None:
    """What the newest certificate says of a program."""
    found = [one for certificate in evidence.certificates for one in certificate.programs if one.program == program]
    return found[-1] if found else None


def certified_text(study: StudyState, one: Certified) -> str:
    """The two gains of a certificate and what was lost between them."""
    size = study.objective.size

    def said(gain: float, low: float, high: float) -> str:
        return f"{gain:+.{study.objective.digits}f} (95 % {low:+.{study.objective.digits}f} to {size(high)})"

    if one.validation is None or one.test is None or one.lost is None:
        return "not decided: a side has no result"
    validation, test = (said(gain.gain, gain.low, gain.high) for gain in (one.validation, one.test))
    return f"gain on fresh seeds {validation}; on the test split {test}; {one.lost:+.{study.objective.digits}f} lost"


def _result(study: StudyState, program: Program, word: Standing, evidence: Evidence) -> Result:
    line = [*reversed(ancestors(study, program)), program]
    steps = [
        Step(one.name, one.first.claim.description, evidence.edits.get(one.name, ""))
        for one in line
        if one is not study.baseline
    ]
    return Result(
        program=program.name,
        standing=word,
        description=program.first.claim.description,
        claim=claim_of(study, program),
        facts=tuple(facts_of(study, program, evidence)),
        adopt=adopt_command(study, program.name),
        change=evidence.changes.get(program.name, ""),
        without=evidence.without,
        steps=tuple(steps),
    )


def _gain(study: StudyState, verdict: VerdictReached) -> str:
    return study.objective.gain(verdict.delta)


def _interval(study: StudyState, verdict: VerdictReached) -> str:
    if verdict.delta_low is None or verdict.delta_high is None:
        return "interval not recorded"
    digits = study.objective.digits
    return f"95 % {-verdict.delta_high:.{digits}f} to {-verdict.delta_low:.{digits}f}{_p_value(verdict.p_value)}"


def _p_value(number: float | None) -> str:
    """Far out in the tail its digits mean nothing."""
    if number is None:
        return ""
    return f", p {number:.2g}" if number >= SMALLEST_P else ", p below 1e-9"


def _than_base(study: StudyState, program: Program) -> str:
    """A lead is judged against its parent; a reader compares with what there was."""
    base = study.baseline
    if base is None or base.mean is None or program.mean is None or program.parent in (None, base.name):
        return ""
    return f"; {study.objective.gain(program.mean - base.mean)} than the baseline"


def _by_noise(study: StudyState, verdict: VerdictReached) -> str:
    """The interval that run-to-run noise gives, as if the program had not been chosen for its runs."""
    noise = study_noise(study)
    if noise is None:
        return ""
    half, digits = half_width(noise, verdict.replicates, verdict.parent_replicates), study.objective.digits
    return f" (95 % {-verdict.delta - half:.{digits}f} to {-verdict.delta + half:.{digits}f} by run-to-run noise)"


def _shorter(verdict: VerdictReached) -> str:
    return "; kept because it is shorter and not worse" if is_simplification(verdict) else ""


def facts_of(study: StudyState, program: Program, evidence: Evidence) -> Iterator[tuple[str, str]]:
    """What is known of a program beside the claim, each under its name."""
    claim, verdict, objective = program.first.claim, program.verdict, study.objective
    costs, runs = deciding_costs(program), [trial for trial in program.trials if trial.finished is not None]
    base = _beside(study, verdict)
    yield "result", f"{objective.with_unit(objective.text(fmean(costs)))} over {many(len(costs), 'run')}{base}"
    yield "seeds", _seeds(runs)
    model = claim.usage.model if claim.usage is not None and claim.usage.model else claim.proposer
    yield "who", f"{claim.agent_id}, {model}; {claim.operator.value}, {claim.family}"
    ends = [trial.finished.at for trial in runs if trial.finished is not None]
    yield "when", between(claim.at, max(ends)) if ends else moment(claim.at)
    yield "how long", f"{many(len(runs), 'run')} of {hours(sum(map(hours_of, runs)) / max(len(runs), 1))} on average"
    yield "cost", f"{hours(sum(map(hours_of, runs)))} of device time; {_proposed_for(study, program)}"
    peaks = [t.finished.resources.peak_mib for t in runs if t.finished is not None and t.finished.resources is not None]
    if known := [peak for peak in peaks if peak is not None]:
        yield "memory", f"{max(known):,} MiB at most"
    if claim.source_lines:
        yield "size", f"{claim.source_lines} lines (+{claim.lines_added} -{claim.lines_removed} in its last edit)"
    for judged in judge_guards(study, program, verdict.finals if verdict is not None else 0):
        yield "guard", str(judged).removeprefix("guard ")
    yield from _beside_it(study, runs)
    if (one := certified(evidence, program.name)) is not None:
        yield "certified", certified_text(study, one)


def _beside(study: StudyState, verdict: VerdictReached | None) -> str:
    """The baseline's mean in the finals, else over all its runs of the search."""
    base = study.baseline
    if verdict is not None and verdict.finals:
        theirs = finals_costs(base, verdict.finals) if base is not None else []
    else:
        theirs = list(base.costs) if base is not None else []
    return f"; baseline {study.objective.text(fmean(theirs))} over {many(len(theirs), 'run')}" if theirs else ""


def _beside_it(study: StudyState, runs: list[Trial]) -> Iterator[tuple[str, str]]:
    """The numbers that the target wants shown beside its objective: means over the runs that gave them."""
    scores = [trial.finished.score for trial in runs if trial.finished is not None and trial.finished.score is not None]
    for one in study.opened.terms.reports:
        known = [score.metrics[one.name] for score in scores if one.name in score.metrics]
        if known:
            yield one.name, f"{fmean(known):.4g} {one.unit}".strip() + f" over {many(len(known), 'run')}"


def _seeds(runs: list[Trial]) -> str:
    """Those of the finals first: only they count there."""
    finals = [str(trial.claim.seed) for trial in runs if trial.claim.finals]
    search = [str(trial.claim.seed) for trial in runs if not trial.claim.finals]
    parts = [f"{', '.join(own)} ({word})" for word, own in (("finals", finals), ("search", search)) if own]
    return "; ".join(parts)


def _proposed_for(study: StudyState, program: Program) -> str:
    """The calls that proposed it and what it grew out of."""
    line = [program, *ancestors(study, program)]
    return price(total_usage([t.claim.usage for one in line for t in one.trials if t.claim.usage is not None]))
