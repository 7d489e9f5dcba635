"""How far the numbers may be trusted: who measured them, behind what, and whether the record is whole."""

from collections import Counter
from collections.abc import Iterable, Iterator

from swarm.records import FailReason
from swarm.report.evidence import NOTHING, Evidence
from swarm.report.nodes import one_class
from swarm.report.results import certified_text
from swarm.report.section import Section
from swarm.report.words import many, moment
from swarm.study.state import StudyState
from swarm.verdict.early_stop import false_prunes

_MEANING = {
    "sealed": "the harness trains, predicts and scores in processes of its own; no program meets a label",
    "graded": "the target's own grader, out of the program's reach, makes the number from what the program left",
    "self-reported": "the number is what the program printed",
}


def integrity(study: StudyState, evidence: Evidence = NOTHING) -> Section:
    return Section("How far to trust it", "", ("", ""), tuple(_rows(study, evidence)))


def grade(study: StudyState) -> str:
    """Of the measurement, with what it means."""
    made = study.opened.terms.grade
    return f"{made}: {_MEANING[made]}"


def chain(evidence: Evidence) -> str:
    """What the check of the brain's chain found."""
    report = evidence.chain
    if report is None:
        return "not checked for this report: swarm verify"
    first = report.first_bad
    if first is None:
        return f"holds over {report.lines:,} lines"
    return f"BROKEN: {len(report.bad) + len(report.broken)} bad lines, the first is {first.line}: {first.reason}"


def _rows(study: StudyState, evidence: Evidence) -> Iterator[tuple[str, str]]:
    finished = [trial.finished for trial in study.finished_trials() if trial.finished is not None]
    yield "Grade of measurement", grade(study)
    yield "Sandbox", _each(item.sandbox for item in finished)
    yield "Flags", _each((flag for item in finished for flag in item.flags), "none")
    yield "Harness", _harness(study)
    yield "Device class", one_class(study)
    yield "Chain of the brain", chain(evidence)
    yield "Baseline over the night", _drift(study)
    prunes = false_prunes(study)
    yield "Early stopping, wrongly ended", f"{prunes.text}; {many(prunes.pruned, 'trial')} ended"
    lost = sum(item.reason is FailReason.ABANDONED for item in finished)
    yield "Trials lost to crashes of the swarm", str(lost)
    for certificate in evidence.certificates:
        again = ", not the first look at the test split" if certificate.again else ""
        for one in certificate.programs:
            when = f"Certificate {certificate.number}, {moment(certificate.at)}{again}"
            yield when, f"{one.program}: {certified_text(study, one)}"
    if not evidence.certificates:
        yield "Certificate", "none: swarm certify looks at the test split, once"


def _harness(study: StudyState) -> str:
    hashes = {item.finished.harness_sha256 for item in study.trials.values() if item.finished is not None} - {None}
    if hashes <= {study.opened.harness_sha256}:
        return f"the same in every trial ({study.opened.harness_sha256[:12]})"
    return f"CHANGED during the study: {len(hashes)} different ones"


def _drift(study: StudyState) -> str:
    ends = [end for end in study.finals_ends.values() if end.baseline_late is not None]
    if not ends:
        return "not measured twice: no finals"
    end = ends[-1]
    said = f"{study.objective.text(end.baseline_early)} early, {study.objective.text(end.baseline_late)} in the finals"
    return f"{said}: {'MOVED by more than chance explains' if end.drifted else 'no more apart than chance explains'}"


def _each(values: Iterable[str | None], none: str = "not recorded") -> str:
    """Distinct values with their counts, the most frequent first."""
    counts = Counter(value for value in values if value is not None)
    return ", ".join(f"{name} ({count})" for name, count in counts.most_common()) or none
