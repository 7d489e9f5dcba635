"""Results along each constant that was tried at more than one value."""

import math
from collections.abc import Sequence

from plotly import graph_objects as go
from plotly.subplots import make_subplots

from swarm.records import Scalar
from swarm.report.figures.style import LOOKS, describe_program, empty_figure, finish_figure, focus, mean_value
from swarm.study.lineage import ancestors
from swarm.study.state import Program, StudyState
from swarm.verdict.standing import standing

TITLE = "Results along each constant"
MOST_CONSTANTS = 9
COLUMNS = 3
LOG_FROM_RATIO = 10


def constants(study: StudyState | None) -> go.Figure:
    """A panel a constant, those with the most distinct values first. Every program is in every panel, with the value
    that it inherited, so a panel mixes the effect of its constant with all others': a map and not a proof."""
    if study is None:
        return empty_figure(TITLE, "No study yet. Start one with: swarm up")
    programs = study.ranked()
    names = _names(study, programs)
    if not names:
        return empty_figure(TITLE, "No constant has been tried at two values yet.", study)
    rows = math.ceil(len(names) / COLUMNS)
    columns = min(COLUMNS, len(names))
    figure = make_subplots(
        rows=rows, cols=columns, shared_yaxes=True, subplot_titles=names, vertical_spacing=0.32 / rows
    )
    for index, name in enumerate(names):
        _add_panel(figure, study, programs, name, row=index // columns + 1, column=index % columns + 1)
    low, high = focus(study.objective, [mean_value(study, program) for program in programs])
    figure.update_yaxes(range=[low, high])
    figure.update_yaxes(title=f"mean {study.objective.label}", col=1)
    shown = set()
    for trace in figure.data:
        trace.showlegend = trace.name not in shown
        shown.add(trace.name)
    return finish_figure(figure, study, TITLE, height=190 + 230 * rows).update_layout(margin_t=120)


def value_of(study: StudyState, program: Program, name: str) -> Scalar | None:
    """A program's value of a constant: its own change, else the nearest ancestor's, else what it was before any change.

    None when no record of the study tells, or when the change took the constant away.
    """
    for holder in [program, *ancestors(study, program)]:
        if name in holder.first.claim.constants_changed:
            return holder.first.claim.constants_changed[name][1]
    for other in study.programs.values():
        untouched = not any(name in a.first.claim.constants_changed for a in ancestors(study, other))
        if untouched and name in other.first.claim.constants_changed:
            return other.first.claim.constants_changed[name][0]
    return None


def _names(study: StudyState, programs: list[Program]) -> list[str]:
    changed = {name for program in programs for name in program.first.claim.constants_changed}
    tried = {name: {value_of(study, program, name) for program in programs} - {None} for name in changed}
    several = sorted((name for name in tried if len(tried[name]) > 1), key=lambda name: (-len(tried[name]), name))
    return several[:MOST_CONSTANTS]


def _add_panel(
    figure: go.Figure, study: StudyState, programs: list[Program], name: str, *, row: int, column: int
) -> None:
    values = {program.name: value_of(study, program, name) for program in programs}
    known = [program for program in programs if values[program.name] is not None]
    numbers = [value for value in values.values() if _is_number(value)]
    numeric = len(numbers) == len(known)
    for word, look in LOOKS.items():
        chosen = [program for program in known if standing(study, program) is word]
        if not chosen:
            continue
        figure.add_scatter(
            x=[values[p.name] if numeric else str(values[p.name]) for p in chosen],
            y=[mean_value(study, program) for program in chosen],
            mode="markers",
            marker={"color": look.colour, "size": look.size, "line": {"width": 1, "color": "white"}},
            name=word,
            legendgroup=word,
            hovertext=[f"{name} = {values[p.name]}<br>{describe_program(study, p)}" for p in chosen],
            hoverinfo="text",
            row=row,
            col=column,
        )
    figure.update_xaxes(type=_axis_type(numbers) if numeric else "category", row=row, col=column)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _axis_type(numbers: Sequence[Scalar | None]) -> str:
    values = [float(number) for number in numbers if number is not None]
    return "log" if min(values) > 0 and max(values) / min(values) >= LOG_FROM_RATIO else "linear"
