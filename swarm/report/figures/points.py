"""Programs as marks: one trace a standing, in each panel of a figure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from swarm.records import Scalar
from swarm.report.figures.drawing import Drawing
from swarm.report.figures.style import LOOKS
from swarm.study.state import Program, StudyState
from swarm.verdict.standing import GAINS, standing

CROWDED = 150  # programs from which on the marks shrink and what is no gain fades


@dataclass(frozen=True, slots=True)
class Point:
    """A program at a place, with its hover text."""

    x: Scalar
    y: float
    program: Program
    text: str


def scale_of(count: int) -> float:
    """By which marks shrink when there are so many."""
    return min(1.0, max(0.4, math.sqrt(CROWDED / max(count, 1))))


def add_programs(
    drawing: Drawing,
    study: StudyState,
    points: Sequence[Point],
    *,
    panel: int = 1,
    labels: frozenset[str] = frozenset(),
) -> None:
    """`labels`: programs whose name is written beside the mark. The legend is that of the first panel."""
    scale = scale_of(len(points))
    number = "" if panel == 1 else str(panel)
    words = {name: standing(study, study.programs[name]) for name in {point.program.name for point in points}}
    for word, look in LOOKS.items():
        chosen = [point for point in points if words[point.program.name] is word]
        drawing.add(
            "scatter",
            x=[point.x for point in chosen],
            y=[point.y for point in chosen],
            xaxis=f"x{number}",
            yaxis=f"y{number}",
            mode="markers+text" if labels else "markers",
            text=[f"  {p.program.name}" if p.program.name in labels else "" for p in chosen] if labels else None,
            textposition="middle right",
            marker={
                "color": look.colour,
                "size": look.size * scale,
                "symbol": look.symbol or "circle",
                "opacity": 1.0 if scale == 1.0 or word in GAINS else 0.6,
                "line": {"width": scale, "color": "white"},
            },
            name=word.value,
            legendgroup=word.value,
            showlegend=bool(chosen) and panel == 1,
            hovertext=[point.text for point in chosen],
            hoverinfo="text",
        )
