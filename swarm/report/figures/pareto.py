"""What a better result costs in memory and in time."""

from collections.abc import Callable, Sequence

from plotly import graph_objects as go
from plotly.subplots import make_subplots

from swarm.report.figures.style import (
    GREEN,
    LOOKS,
    describe_program,
    empty_figure,
    finish_figure,
    focus,
    mean_value,
    peak_mib,
    wall_s,
)
from swarm.study.state import Program, StudyState
from swarm.verdict.standing import Standing, standing

TITLE = "Results against memory and time"

_SPENT: tuple[tuple[str, Callable[[Program], float | None]], ...] = (
    ("peak memory (MiB)", peak_mib),
    ("wall time of a trial (s)", wall_s),
)


def pareto(study: StudyState | None) -> go.Figure:
    """Mean result of each program against its peak memory and its mean wall time, with the front that nothing beats.

    The front is drawn through means: within a noise floor of it, nothing is decided.
    """
    if study is None:
        return empty_figure(TITLE, "No study yet. Start one with: swarm up")
    programs = [p for p in study.ranked() if peak_mib(p) is not None or wall_s(p) is not None]
    if not programs:
        return empty_figure(TITLE, "No finished trial has recorded its memory or time yet.", study)
    figure = make_subplots(rows=1, cols=len(_SPENT), shared_yaxes=True, horizontal_spacing=0.04)
    for column, (label, spent) in enumerate(_SPENT, 1):
        points = [(value, program) for program in programs if (value := spent(program)) is not None]
        _add_front(figure, study, points, column)
        for word in LOOKS:
            _add_points(figure, study, [p for p in points if standing(study, p[1]) is word], word, column)
        figure.update_xaxes(title=label, row=1, col=column)
    low, high = focus(study.objective, [mean_value(study, program) for program in programs])
    figure.update_yaxes(range=[low, high])
    figure.update_yaxes(title=f"mean {study.objective.label}", row=1, col=1)
    return finish_figure(figure, study, TITLE, note="green: nothing is both cheaper and better")


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (spent, cost), those that no other is at most as dear and as bad as; by rising expense."""
    best: list[tuple[float, float]] = []
    for spent, cost in sorted(points):
        if not best or cost < best[-1][1]:
            best.append((spent, cost))
    return best


def _add_front(figure: go.Figure, study: StudyState, points: list[tuple[float, Program]], column: int) -> None:
    edge = front([(spent, program.mean) for spent, program in points if program.mean is not None])
    figure.add_scatter(
        x=[spent for spent, _ in edge],
        y=[study.objective.value(cost) for _, cost in edge],
        mode="lines",
        line={"color": GREEN, "width": 1.5, "dash": "dot", "shape": "hv"},
        name="front",
        legendgroup="front",
        showlegend=column == 1,
        hoverinfo="skip",
        row=1,
        col=column,
    )


def _add_points(
    figure: go.Figure, study: StudyState, points: list[tuple[float, Program]], word: Standing, column: int
) -> None:
    look = LOOKS[word]
    figure.add_scatter(
        x=[spent for spent, _ in points],
        y=[mean_value(study, program) for _, program in points],
        mode="markers",
        marker={"color": look.colour, "size": look.size, "line": {"width": 1, "color": "white"}},
        name=word,
        legendgroup=word,
        showlegend=bool(points) and column == 1,
        hovertext=[describe_program(study, program) for _, program in points],
        hoverinfo="text",
        row=1,
        col=column,
    )
