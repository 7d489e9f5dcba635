"""A study that is still running, in a notebook: `show` returns at once and goes on, `watch` blocks its cell.

`show` draws from a task on the kernel's own event loop. Colab shows nothing that comes after a cell has ended; there
`watch` follows a study. What is drawn is `swarm.watch.cell`'s business, which study `swarm.watch.shown`'s.
"""

import asyncio
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from IPython.display import display

from swarm.brain import Brain
from swarm.clock import SystemClock
from swarm.errors import SwarmError
from swarm.watch.cell import drawing_html, fault_html, frame_html, head_text
from swarm.watch.shown import Shown, chosen, find_brain
from swarm.watch.steering import tell

SLICE_S = 2.0
LEAST_BETWEEN_S = 1.0
DEFAULT_FIGURES = ("history", "timeline", "lineage")


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

    def show(self, seconds: float | None = None) -> None:
        """Draws now, returns, and draws again after each change until `stop`. Needs a running event loop, as every
        Jupyter kernel has."""
        self.stop()
        place, changes = self._place(_bounded(seconds))
        follow = self._follow(place, changes)
        self._task = asyncio.get_running_loop().create_task(follow)

    def watch(self, seconds: float | None = None) -> None:
        """Draws after each change until the time is up, the study closes, or the cell is interrupted."""
        place, changes = self._place(_bounded(seconds))
        try:
            for changed in changes:
                self._redraw(place, changed)
                time.sleep(LEAST_BETWEEN_S)
        except KeyboardInterrupt:
            return

    def stop(self) -> None:
        """End what `show` began; the figures stay as they are."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def wait(self) -> None:
        """Until what `show` began has ended by itself."""
        if self._task is not None:
            await self._task

    def tell(self, action: str, subject: str = "", text: str = "") -> str:
        """Note, veto, allow, boost, pin, trials or hours, as `swarm steer` does; what it wrote. Raises SwarmError."""
        study = chosen(self._brain, self._brain.snapshot(), self._study_id).study
        if study is None:
            raise SwarmError("there is no study to steer yet: `swarm up` begins one")
        return tell(Brain(self._brain.path), study.study_id, action, subject, text, SystemClock().now())

    def _place(self, seconds: float | None) -> tuple[str, Iterator[Shown]]:
        """Shows the frame and, in it, the study as it is now. The name of the place, and what comes after."""
        place, state = f"swarm-{uuid.uuid4().hex}", self._brain.snapshot()
        seq, shown = state.seq, chosen(self._brain, state, self._study_id)
        _show(frame_html(place, shown, self._names), head_text(shown))
        _show(drawing_html(place, shown, self._names), head_text(shown), display_id=place)
        return place, self._changes(seconds, shown, seq)

    def _redraw(self, place: str, shown: Shown) -> None:
        _show(drawing_html(place, shown, self._names), head_text(shown), display_id=place, update=True)

    async def _follow(self, place: str, changes: Iterator[Shown]) -> None:
        """Reading waits in a thread and drawing happens here, never both at once: the state is one live object."""
        try:
            while (changed := await asyncio.to_thread(next, changes, None)) is not None:
                self._redraw(place, changed)
                await asyncio.sleep(LEAST_BETWEEN_S)
        except (SwarmError, OSError, ValueError) as error:
            said = f"No more updates: {error} Run the cell again."
            _show(fault_html(place, said), said, display_id=place, update=True)

    def _changes(self, seconds: float | None, last: Shown, drawn: int) -> Iterator[Shown]:
        """What is to be shown, after each change since `last` was drawn, of the brain's line `drawn`. Waits in slices,
        so that a stopped dashboard leaves no thread."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while deadline is None or time.monotonic() < deadline:
            left = SLICE_S if deadline is None else min(SLICE_S, deadline - time.monotonic())
            for state in self._brain.watch(timeout_s=max(left, 0.0)):
                if state.seq != drawn:
                    drawn, last = state.seq, chosen(self._brain, state, self._study_id)
                    yield last
            if last.warning is None and last.study is not None and last.study.closed is not None:
                return


def _bounded(seconds: float | None) -> float | None:
    """The smaller of what was asked for and SWARM_NOTEBOOK_MAX_SECONDS; None where neither is given."""
    limit = os.environ.get("SWARM_NOTEBOOK_MAX_SECONDS")
    given = [seconds] if seconds is not None else []
    return min([*given, *([float(limit)] if limit else [])], default=None)


def _show(markup: str, text: str, *, display_id: str | None = None, update: bool = False) -> None:
    display(  # type: ignore[no-untyped-call]
        {"text/html": markup, "text/plain": text}, raw=True, display_id=display_id, update=update
    )
