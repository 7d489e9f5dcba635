"""The report's table of second numbers: guards, and what is only shown."""

from collections.abc import Sequence
from statistics import fmean

from swarm.report.section import Section
from swarm.study.state import StudyState
from swarm.target.objective import UNKNOWN
from swarm.verdict.guards import Judged, judge_guards, values_of
from swarm.verdict.standing import in_order


def guards(study: StudyState) -> Section:
    """Guards and numbers that are only shown, for each program with a result; a guard that fails says so."""
    terms = study.opened.terms
    shown = [f"{one.name} ({one.unit})" if one.unit else one.name for one in terms.reports]
    rows = tuple(
        (
            program.name,
            *(_short(one) for one in judge_guards(study, program)),
            *(_mean_number(values_of(program, one.name)) for one in terms.reports),
        )
        for program in (in_order(study) if terms.guards or terms.reports else ())
    )
    note = "By the runs of the search. A program whose guard does not hold is not kept, however good its objective is."
    columns = ("program", *(f"guard {guard}" for guard in terms.guards), *shown)
    return Section("Guards and other numbers", note, columns, rows, "None, or no result yet.")


def second_numbers(study: StudyState) -> tuple[Section, ...]:
    """The table, where the target has any."""
    return (guards(study),) if study.opened.terms.guards or study.opened.terms.reports else ()


def _short(judged: Judged) -> str:
    if judged.mean is None:
        return "not measured: fails"
    return f"{judged.mean:g}: {'holds' if judged.holds else 'FAILS' if judged.fails else 'in doubt'}"


def _mean_number(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{fmean(known):g}" if known else UNKNOWN
