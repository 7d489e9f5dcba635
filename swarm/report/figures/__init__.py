"""A study as plotly figures. Values in, figures out: no files, no clocks.

Each function takes a StudyState, or None where there is no study yet, and always returns a figure: one that has nothing
to show says what is missing. Zoom and hidden traces survive an update of the same study (`uirevision`).
"""

from collections.abc import Callable, Mapping

from plotly import graph_objects as go

from swarm.report.figures.constants import constants
from swarm.report.figures.curves import curves
from swarm.report.figures.history import history
from swarm.report.figures.lineage import lineage
from swarm.report.figures.pareto import pareto
from swarm.report.figures.timeline import timeline
from swarm.study.state import StudyState

FIGURES: Mapping[str, Callable[[StudyState | None], go.Figure]] = {
    "history": history,
    "lineage": lineage,
    "timeline": timeline,
    "curves": curves,
    "pareto": pareto,
    "constants": constants,
}

__all__ = ["FIGURES", "constants", "curves", "history", "lineage", "pareto", "timeline"]
