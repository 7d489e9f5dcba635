"""A study as plotly figures. Values in, figures out: no files, no clocks.

Each function takes a StudyState, or None where there is no study yet, and always returns a figure: one that has nothing
to show says what is missing. Zoom and hidden traces survive an update of the same study (`uirevision`).
"""

from collections.abc import Callable, Mapping

from plotly import graph_objects as go

from swarm.report.figures.constants import draw_constants
from swarm.report.figures.cost import draw_cost
from swarm.report.figures.curves import draw_curves
from swarm.report.figures.drawing import Drawing
from swarm.report.figures.history import draw_history
from swarm.report.figures.importance import draw_importance
from swarm.report.figures.lineage import NO_DIFFS, draw_lineage
from swarm.report.figures.memory import draw_memory
from swarm.report.figures.parallel import draw_parallel
from swarm.report.figures.pareto import draw_pareto
from swarm.report.figures.timeline import draw_timeline
from swarm.study.state import StudyState

DRAWINGS: Mapping[str, Callable[[StudyState | None], Drawing]] = {
    "history": draw_history,
    "timeline": draw_timeline,
    "lineage": draw_lineage,
    "importance": draw_importance,
    "parallel": draw_parallel,
    "constants": draw_constants,
    "curves": draw_curves,
    "memory": draw_memory,
    "pareto": draw_pareto,
    "cost": draw_cost,
}
"""As values, in the order of a report. plotly's own objects take many times as long to make."""


def draw(name: str, study: StudyState | None, diffs: Mapping[str, str] = NO_DIFFS) -> Drawing:
    """A figure as values. `diffs`: of programs against their parents, for the lineage. KeyError when there is none of
    this name."""
    if name == "lineage":
        return draw_lineage(study, diffs)
    return DRAWINGS[name](study)


def _as_figure(drawn: Callable[[StudyState | None], Drawing]) -> Callable[[StudyState | None], go.Figure]:
    return lambda study: drawn(study).figure()


FIGURES: Mapping[str, Callable[[StudyState | None], go.Figure]] = {
    name: _as_figure(drawn) for name, drawn in DRAWINGS.items()
}
"""The same as plotly's objects, for a notebook."""

history, timeline, lineage = FIGURES["history"], FIGURES["timeline"], FIGURES["lineage"]
constants, curves, pareto = FIGURES["constants"], FIGURES["curves"], FIGURES["pareto"]

__all__ = [
    "DRAWINGS",
    "FIGURES",
    "Drawing",
    "constants",
    "curves",
    "draw",
    "history",
    "lineage",
    "pareto",
    "timeline",
]
