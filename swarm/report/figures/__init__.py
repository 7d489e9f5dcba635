"""A study as plotly figures. Values in, figures out: no files, no clocks.

Each function takes a StudyState, or None where there is no study yet, and always returns a figure: one that has nothing
to show says what is missing. Zoom and hidden traces survive an update of the same study (`uirevision`).
"""

from collections.abc import Callable, Mapping

from plotly import graph_objects as go

from swarm.report.figures.constants import constants
from swarm.report.figures.curves import curves
from swarm.report.figures.drawing import Drawing
from swarm.report.figures.history import draw_history, history
from swarm.report.figures.lineage import lineage
from swarm.report.figures.pareto import pareto
from swarm.report.figures.timeline import draw_timeline, timeline
from swarm.study.state import StudyState

FIGURES: Mapping[str, Callable[[StudyState | None], go.Figure]] = {
    "history": history,
    "lineage": lineage,
    "timeline": timeline,
    "curves": curves,
    "pareto": pareto,
    "constants": constants,
}

DRAWINGS: Mapping[str, Callable[[StudyState | None], Drawing]] = {
    "history": draw_history,
    "timeline": draw_timeline,
}
"""Those that are drawn without plotly's objects, in a fraction of their time."""


def draw(name: str, study: StudyState | None) -> Drawing:
    """A figure as values. KeyError when there is none of this name."""
    if name in DRAWINGS:
        return DRAWINGS[name](study)
    return Drawing.of(FIGURES[name](study))


__all__ = ["DRAWINGS", "FIGURES", "Drawing", "constants", "curves", "draw", "history", "lineage", "pareto", "timeline"]
