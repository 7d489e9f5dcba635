"""A study as it is now, in a notebook: each figure as the output of a cell of its own."""

import sys
import uuid
from pathlib import Path

from IPython.display import HTML

from swarm.report.render import summary_fragment
from swarm.watch.cell import drawing_html, head_html, library_html, place_html
from swarm.watch.shown import look


class Results:
    """The study of this id or the latest one, of the brain at `path` or the nearest one. It does not follow it."""

    def __init__(self, path: Path | str | None = None, study_id: str | None = None) -> None:
        self._shown = look(path, study_id)

    def summary(self) -> HTML:
        """What it is and the best programs. Plotly's code comes with it, once: the figures of other cells need it."""
        parts = library_html() + head_html(self._shown) + summary_fragment(self._shown.study)
        return HTML(parts)  # type: ignore[no-untyped-call]

    def figure(self, name: str) -> HTML:
        """One of `swarm.report.figures.DRAWINGS`. KeyError when there is none of this name."""
        place = f"swarm-{uuid.uuid4().hex}"
        library = library_html() if "google.colab" in sys.modules else ""  # where each cell is a page of its own
        parts = library + place_html(place, "", [name]) + drawing_html(place, self._shown, [name], head="")
        return HTML(parts)  # type: ignore[no-untyped-call]
