"""A study that is still running, in a notebook. Drivers only: what is drawn is `swarm.report.figures`' business.

Two ways, because no one way works everywhere. `LiveDashboard.follow` shows widgets and updates them from a task on the
kernel's own event loop: the cell returns at once and zoom survives. `LiveDashboard.watch` blocks its cell and replaces
plain HTML output: for Colab, nbconvert and other front ends without widgets. Errors are shown where the figures are.
"""

import asyncio
import html
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import ipywidgets
from IPython.display import display
from plotly import graph_objects as go
from plotly.offline import get_plotlyjs

from swarm.brain import Brain
from swarm.errors import SwarmError
from swarm.report.figures import FIGURES
from swarm.report.figures.style import data_label
from swarm.report.summary import summarize
from swarm.study.state import BrainState, StudyState

BRAIN_NAME = "swarm_brain.jsonl"
SLICE_S = 2.0
DEFAULT_FIGURES = ("history", "timeline")


def find_brain(path: Path | str | None = None) -> Path:
    """The brain that was named, or `swarm_brain.jsonl` in this folder or the nearest one above. SwarmError if none."""
    if path is not None:
        return Path(path)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / BRAIN_NAME).is_file():
            return folder / BRAIN_NAME
    raise SwarmError(f"there is no {BRAIN_NAME} in {here} or above; `swarm up` makes one, or name one")


def load_study(path: Path | str | None = None, study_id: str | None = None) -> StudyState | None:
    """The study as the brain has it now; the latest when no id is given, None when there is no such study."""
    return Brain(find_brain(path)).snapshot().study(study_id)


class LiveDashboard:
    """Figures of one study that follow its brain. `figures` are names of `swarm.report.figures.FIGURES`.

    `seconds` bounds how long it follows; None means until the study closes, or SWARM_NOTEBOOK_MAX_SECONDS if that is
    set (which also bounds a larger number: headless runs end).
    """

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        study_id: str | None = None,
        figures: Sequence[str] = DEFAULT_FIGURES,
    ) -> None:
        self._brain = Brain(find_brain(path))
        self._study_id = study_id
        self._names = tuple(figures)
        self._task: asyncio.Task[None] | None = None

    def follow(self, seconds: float | None = None) -> ipywidgets.VBox:
        """Widgets that update themselves until `stop`. Needs a running event loop, as every Jupyter kernel has."""
        self.stop()
        state = self._brain.snapshot()
        label = ipywidgets.HTML(self._headline(state))
        widgets = [go.FigureWidget(figure) for figure in self._draw(state)]
        self._task = asyncio.get_running_loop().create_task(self._follow(label, widgets, _bounded(seconds)))
        return ipywidgets.VBox([label, *widgets])

    def stop(self) -> None:
        """End what `follow` began; the figures stay as they are."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def wait(self) -> None:
        """Until what `follow` began has ended by itself."""
        if self._task is not None:
            await self._task

    def watch(self, seconds: float | None = None) -> None:
        """Draw again after each change, in place, until the time is up or the cell is interrupted."""
        place = uuid.uuid4().hex
        _show(f"<script>{get_plotlyjs()}</script>", display_id=f"{place}-js")  # once; updates then need no network
        _show("Waiting for the brain.", display_id=place)
        try:
            for state in self._changes(_bounded(seconds)):
                _show(self._page(state), display_id=place, update=True)
        except KeyboardInterrupt:
            return

    async def _follow(self, label: ipywidgets.HTML, widgets: list[go.FigureWidget], seconds: float | None) -> None:
        """Reading waits in a thread and drawing happens here, never both at once: the state is one live object."""
        changes = self._changes(seconds)
        try:
            while (state := await asyncio.to_thread(next, changes, None)) is not None:
                for widget, figure in zip(widgets, self._draw(state), strict=True):
                    refresh(widget, figure)
                label.value = self._headline(state)
        except (SwarmError, OSError, ValueError) as error:
            label.value = f"<b style='color:#D55E00'>No more updates: {html.escape(str(error))}</b>"

    def _changes(self, seconds: float | None) -> Iterator[BrainState]:
        """The state now and after each change. Waits in slices, so that a stopped dashboard leaves no thread behind."""
        deadline = None if seconds is None else time.monotonic() + seconds
        shown = -1
        while deadline is None or time.monotonic() < deadline:
            left = SLICE_S if deadline is None else min(SLICE_S, deadline - time.monotonic())
            for state in self._brain.watch(timeout_s=max(left, 0.0)):
                if state.seq != shown:
                    shown = state.seq
                    yield state
            study = self._brain.snapshot().study(self._study_id)
            if study is not None and study.closed is not None:
                return

    def _draw(self, state: BrainState) -> list[go.Figure]:
        study = state.study(self._study_id)
        return [FIGURES[name](study) for name in self._names]

    def _headline(self, state: BrainState) -> str:
        study = state.study(self._study_id)
        if study is None:
            return "No study in this brain yet."
        return headline(study)

    def _page(self, state: BrainState) -> str:
        parts = [f"<p>{self._headline(state)}</p>"]
        parts += [figure.to_html(full_html=False, include_plotlyjs=False) for figure in self._draw(state)]
        return "".join(parts)


def headline(study: StudyState) -> str:
    """One line of HTML: what runs, how far it is, what the workers build on."""
    told, incumbent = summarize(study), study.incumbent
    done = told.complete + sum(told.failed.values())
    facts = f"{done} trials done, {told.running} running, {told.kept} kept"
    if incumbent is not None and incumbent.mean is not None:
        facts += f"; incumbent {incumbent.name} at {study.objective.with_unit(study.objective.text(incumbent.mean))}"
    if told.closed is not None:
        facts += f"; closed: {html.escape(told.closed)}"
    return f"<b>{html.escape(study.study_id)}</b> ({data_label(study)}): {facts}"


def refresh(widget: go.FigureWidget, figure: go.Figure) -> None:
    """Make a shown widget look like `figure`; zoom survives while the study is the same (`uirevision`)."""
    same = [trace.type for trace in widget.data] == [trace.type for trace in figure.data]
    with widget.batch_update():
        if same:
            for old, new in zip(widget.data, figure.data, strict=True):
                old.update(new.to_plotly_json(), overwrite=True)
        else:
            widget.data = ()
            widget.add_traces(list(figure.data))
    widget.layout = figure.layout


def _bounded(seconds: float | None) -> float | None:
    """The smaller of what was asked for and SWARM_NOTEBOOK_MAX_SECONDS; None where neither is given."""
    limit = os.environ.get("SWARM_NOTEBOOK_MAX_SECONDS")
    given = [seconds] if seconds is not None else []
    return min([*given, *([float(limit)] if limit else [])], default=None)


def _show(markup: str, *, display_id: str, update: bool = False) -> None:
    display({"text/html": markup}, raw=True, display_id=display_id, update=update)  # type: ignore[no-untyped-call]
