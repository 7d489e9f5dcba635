"""Results along each constant that was tried at more than one value."""

import math
from collections.abc import Sequence

from swarm.records import Scalar
from swarm.report.figures.drawing import Drawing
from swarm.report.figures.effects import constant_values, tried_constants
from swarm.report.figures.panels import axis, panels
from swarm.report.figures.points import CROWDED, Point, add_programs
from swarm.report.figures.style import common_layout, describe_program, empty_layout, focus, mean_value
from swarm.study.state import Program, StudyState

TITLE = "Results along each constant"
MOST_CONSTANTS = 9
COLUMNS = 3
LOG_FROM_RATIO = 10


def draw_constants(study: StudyState | None) -> Drawing:
    """A panel a constant, those with the most distinct values first. Every program is in every panel, with the value
    that it inherited, so a panel mixes the effect of its constant with all others': a map and not a proof."""
    if study is None:
        return Drawing(layout=empty_layout(TITLE, "No study yet. Start one with: swarm up"))
    programs = study.ranked()
    names = tried_constants(study, programs, MOST_CONSTANTS)
    if not names:
        return Drawing(layout=empty_layout(TITLE, "No constant has been tried at two values yet.", study))
    rows = math.ceil(len(names) / COLUMNS)
    note = "every program in every panel: a map, no proof"
    drawing = Drawing(layout=common_layout(study, TITLE, note=note, height=190 + 230 * rows))
    drawing.layout |= panels(names, columns=COLUMNS, gap=(0.05, 0.32 / rows))
    values = constant_values(study)
    texts = {program.name: _text(study, program, len(programs)) for program in programs}
    for panel, name in enumerate(names, 1):
        _add_panel(drawing, study, programs, panel, {p.name: values[p.name].get(name) for p in programs}, texts, name)
    low, high = focus(study.objective, [mean_value(study, program) for program in programs])
    for panel in range(1, len(names) + 1):
        axis(drawing.layout, "y", panel, range=[low, high])
        if (panel - 1) % COLUMNS == 0:
            axis(drawing.layout, "y", panel, title={"text": f"mean {study.objective.label}"})
    drawing.layout["margin"] = {"l": 70, "r": 20, "t": 120, "b": 60}
    return drawing


def value_of(study: StudyState, program: Program, name: str) -> Scalar | None:
    """A program's value of a constant; None when no record of the study tells, or when a change took it away."""
    return constant_values(study)[program.name].get(name)


def _text(study: StudyState, program: Program, count: int) -> str:
    """Short where there are many: the text stands in each panel."""
    if count <= CROWDED:
        return describe_program(study, program)
    return f"<b>{program.name}</b> {study.objective.text(program.mean)}"


def _add_panel(
    drawing: Drawing,
    study: StudyState,
    programs: list[Program],
    panel: int,
    values: dict[str, Scalar | None],
    texts: dict[str, str],
    name: str,
) -> None:
    known = [(program, value) for program in programs if (value := values[program.name]) is not None]
    numbers = [float(value) for _, value in known if is_number(value)]
    numeric = len(numbers) == len(known)
    points = [
        Point(
            value if numeric else str(value),
            mean_value(study, program),
            program,
            f"{name} = {value}<br>{texts[program.name]}",
        )
        for program, value in known
    ]
    add_programs(drawing, study, points, panel=panel)
    axis(drawing.layout, "x", panel, type=axis_type(numbers) if numeric else "category")


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def axis_type(numbers: Sequence[float]) -> str:
    """log where they span a decade and are positive."""
    return "log" if min(numbers) > 0 and max(numbers) / min(numbers) >= LOG_FROM_RATIO else "linear"
