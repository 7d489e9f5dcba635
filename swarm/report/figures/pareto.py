"""What a lower loss costs in memory and in time."""

from collections.abc import Callable, Sequence

from plotly import graph_objects as go
from plotly.subplots import make_subplots

from swarm.report.figures.style import (
    GREEN,
    OUTCOMES,
    describe_program,
    empty_figure,
    finish_figure,
    focus,
    mean_loss,
    peak_mib,
    wall_s,
)
from swarm.report.summary import standing
from swarm.study.state import Program, StudyState

TITLE = "Loss against memory and time"

_COSTS: tuple[tuple[str, Callable[[Program], float | None]], ...] = (
    ("peak memory (MiB)", peak_mib),
    ("wall time of a trial (s)", wall_s),
)


def pareto(study: StudyState | None) -> go.Figure:
    """Mean loss of each program against its peak memory and its mean wall time, with the front that nothing beats.

    The front is drawn through means: within a noise floor of it, nothing is decided.
    """
    if study is None:
        return empty_figure(TITLE, "No study yet. Start one with: swarm up")
    programs = [p for p in study.ranked() if peak_mib(p) is not None or wall_s(p) is not None]
    if not programs:
        return empty_figure(TITLE, "No finished trial has recorded its memory or time yet.", study)
    figure = make_subplots(rows=1, cols=len(_COSTS), shared_yaxes=True, horizontal_spacing=0.04)
    for column, (label, cost) in enumerate(_COSTS, 1):
        points = [(value, program) for program in programs if (value := cost(program)) is not None]
        _add_front(figure, points, column)
        for outcome in OUTCOMES:
            _add_points(figure, [p for p in points if standing(study, p[1]) == outcome], outcome, column)
        figure.update_xaxes(title=label, row=1, col=column)
    low, high = focus([mean_loss(program) for program in programs])
    figure.update_yaxes(range=[low, high])
    figure.update_yaxes(title="mean validation loss (nats)", row=1, col=1)
    return finish_figure(figure, study, TITLE, note="green: nothing is both cheaper and better")


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (cost, loss), those that no other is at most as dear and as bad as; by rising cost."""
    best: list[tuple[float, float]] = []
    for cost, loss in sorted(points):
        if not best or loss < best[-1][1]:
            best.append((cost, loss))
    return best


def _add_front(figure: go.Figure, points: list[tuple[float, Program]], column: int) -> None:
    edge = front([(cost, mean_loss(program)) for cost, program in points])
    figure.add_scatter(
        x=[cost for cost, _ in edge],
        y=[loss for _, loss in edge],
        mode="lines",
        line={"color": GREEN, "width": 1.5, "dash": "dot", "shape": "hv"},
        name="front",
        legendgroup="front",
        showlegend=column == 1,
        hoverinfo="skip",
        row=1,
        col=column,
    )


def _add_points(figure: go.Figure, points: list[tuple[float, Program]], outcome: str, column: int) -> None:
    look = OUTCOMES[outcome]
    figure.add_scatter(
        x=[cost for cost, _ in points],
        y=[mean_loss(program) for _, program in points],
        mode="markers",
        marker={"color": look.colour, "size": look.size, "line": {"width": 1, "color": "white"}},
        name=look.label,
        legendgroup=outcome,
        showlegend=bool(points) and column == 1,
        hovertext=[describe_program(program) for _, program in points],
        hoverinfo="text",
        row=1,
        col=column,
    )
