"""What a better result costs in memory and in time."""

from collections.abc import Callable, Sequence

from swarm.report.figures.drawing import Drawing
from swarm.report.figures.panels import axis, panels
from swarm.report.figures.points import Point, add_programs
from swarm.report.figures.style import (
    GREEN,
    common_layout,
    describe_program,
    empty_layout,
    focus,
    mean_value,
    peak_mib,
    wall_s,
)
from swarm.study.state import Program, StudyState

TITLE = "Results against memory and time"

_SPENT: tuple[tuple[str, Callable[[Program], float | None]], ...] = (
    ("peak memory (MiB)", peak_mib),
    ("wall time of a trial (s)", wall_s),
)


def draw_pareto(study: StudyState | None) -> Drawing:
    """Mean result of each program against its peak memory and its mean wall time, with the front that nothing beats.

    The front is drawn through means: within a noise floor of it, nothing is decided.
    """
    if study is None:
        return Drawing(layout=empty_layout(TITLE, "No study yet. Start one with: swarm up"))
    programs = [p for p in study.ranked() if peak_mib(p) is not None or wall_s(p) is not None]
    if not programs:
        missing = "No finished trial has recorded its memory or time yet."
        return Drawing(layout=empty_layout(TITLE, missing, study))
    drawing = Drawing(layout=common_layout(study, TITLE, note="green: nothing is both cheaper and better"))
    drawing.layout |= panels(["", ""], columns=2)
    low, high = focus(study.objective, [mean_value(study, program) for program in programs])
    for panel, (label, spent) in enumerate(_SPENT, 1):
        known = [(value, program) for program in programs if (value := spent(program)) is not None]
        _add_front(drawing, study, known, panel)
        points = [Point(value, mean_value(study, p), p, describe_program(study, p)) for value, p in known]
        add_programs(drawing, study, points, panel=panel)
        axis(drawing.layout, "x", panel, title={"text": label})
        axis(drawing.layout, "y", panel, range=[low, high])
    axis(drawing.layout, "y", 1, title={"text": f"mean {study.objective.label}"})
    return drawing


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (spent, cost), those that no other is at most as dear and as bad as; by rising expense."""
    best: list[tuple[float, float]] = []
    for spent, cost in sorted(points):
        if not best or cost < best[-1][1]:
            best.append((spent, cost))
    return best


def _add_front(drawing: Drawing, study: StudyState, points: list[tuple[float, Program]], panel: int) -> None:
    edge = front([(spent, program.mean) for spent, program in points if program.mean is not None])
    drawing.add(
        "scatter",
        x=[spent for spent, _ in edge],
        y=[study.objective.value(cost) for _, cost in edge],
        xaxis="x" if panel == 1 else f"x{panel}",
        yaxis="y" if panel == 1 else f"y{panel}",
        mode="lines",
        line={"color": GREEN, "width": 1.5, "dash": "dot", "shape": "hv"},
        name="front",
        legendgroup="front",
        showlegend=panel == 1,
        hoverinfo="skip",
    )
