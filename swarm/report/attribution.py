"""The report's section on what each edit is worth."""

from collections.abc import Iterator

from swarm.report.section import Section
from swarm.study.state import Program, StudyState
from swarm.verdict.attribution import contributions, smallest, steps, subjects

COLUMNS = ("program", "left out", "gain", "95 % interval", "runs", "lines without", "change")
EMPTY = "No attribution was made: `swarm attribute` runs the program without each of its edits."


def attribution(study: StudyState) -> Section:
    found = subjects(study)
    told = " ".join(_smallest(study, program) for program in found)
    note = (
        f"How much worse the {study.objective.label} is without an edit, on runs made for this alone; an interval that "
        f"holds 0 is no proof of a gain. {told}"
    )
    rows = tuple(row for program in found for row in _rows(study, program))
    return Section("What each edit is worth", note if found else "", COLUMNS, rows, EMPTY)


def _rows(study: StudyState, subject: Program) -> Iterator[tuple[str, ...]]:
    said, size = {step.name: step.description for step in steps(study, subject)}, study.objective.size
    for one in contributions(study, subject):
        names = ", ".join(one.left_out)
        change = said[one.left_out[0]] if len(one.left_out) == 1 else "together"
        lines = str(study.programs[one.program].first.claim.source_lines)
        between = f"{_signed(one.low, size(abs(one.low)))} to {_signed(one.high, size(abs(one.high)))}"
        yield subject.name, names, _signed(one.gain, size(abs(one.gain))), between, str(one.runs), lines, change


def _signed(amount: float, text: str) -> str:
    return f"{'-' if amount < 0 else '+'}{text}"


def _smallest(study: StudyState, subject: Program) -> str:
    least, own = smallest(study, subject), subject.first.claim.source_lines
    if least is subject:
        return f"No program without an edit is as good as {subject.name} and shorter."
    lines = least.first.claim.source_lines
    return f"The smallest program as good as {subject.name} ({own} lines) is {least.name} ({lines} lines)."
