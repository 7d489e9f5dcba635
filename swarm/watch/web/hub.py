"""The study as all who watch the page see it: one look for all of them, and a person's word on its way to the brain."""

import contextlib
from collections.abc import Callable

from swarm.brain import Brain
from swarm.clock import Clock
from swarm.errors import SwarmError, UsageError
from swarm.orchestrator.control import Control, write_control
from swarm.records import one_line
from swarm.report.evidence import NOTHING, Evidence
from swarm.report.figures import DRAWINGS, draw
from swarm.report.figures.drawing import Theme
from swarm.study.settings import Layout
from swarm.study.state import StudyState
from swarm.study.steering import Action, steer
from swarm.watch.frame import Frame
from swarm.watch.readings import layout_near, runs_here
from swarm.watch.watching import LOOK_EVERY_S, Watcher
from swarm.watch.web.page import TABLES, table

STOPS = {"drain": Control.DRAIN, "now": Control.NOW}
ACTIONS: dict[str, Action] = {"note": "note", "veto": "veto", "allow": "allow", "boost": "boost", "pin": "pin"}


class Hub:
    """Used by one thread, but for `told`, which has a brain of its own. `open_brain` makes one for it.

    `evidence` brings what tables show beside the records, such as diffs.
    """

    def __init__(
        self,
        watcher: Watcher,
        open_brain: Callable[[], Brain],
        clock: Clock,
        evidence: Callable[[StudyState], Evidence] = lambda study: NOTHING,
    ) -> None:
        self._evidence = evidence
        self._gathered: tuple[object, Evidence] | None = None
        self._watcher = watcher
        self._open_brain = open_brain
        self._clock = clock
        self._frame: Frame | None = None
        self._looked = -LOOK_EVERY_S
        self._drawn: dict[tuple[str, Theme], tuple[object, str]] = {}

    def frame(self) -> Frame:
        """Not older than a second. Raises SwarmError when the brain cannot be read and could not before."""
        now = self._clock.monotonic()
        if self._frame is None or now - self._looked >= LOOK_EVERY_S:
            self._frame = self._watcher.need()
            self._looked = self._clock.monotonic()
        return self._frame

    def figure(self, name: str, theme: Theme) -> str:
        """KeyError when there is none of this name. Drawn once for each state of the study."""
        if name not in DRAWINGS:
            raise KeyError(name)
        seen, study = self.frame(), self._watcher.study
        state = (seen.study_id, seen.seq)
        drawn = self._drawn.get((name, theme))
        if drawn is None or drawn[0] != state:
            edits = self._gather(seen, study).edits if name == "lineage" and study is not None else {}
            drawn = self._drawn[name, theme] = (state, draw(name, study, edits).to_json(theme))
        return drawn[1]

    def table(self, name: str) -> str:
        """KeyError when there is none of this name."""
        if name not in TABLES:
            raise KeyError(name)
        seen, study = self.frame(), self._watcher.study
        if study is None:
            return ""
        return table(name, study, self._gather(seen, study))

    def _gather(self, seen: Frame, study: StudyState) -> Evidence:
        """Once for each state of the study."""
        state = (seen.study_id, seen.seq)
        if self._gathered is None or self._gathered[0] != state:
            self._gathered = (state, self._evidence(study))
        return self._gathered[1]

    def may_steer(self) -> bool:
        """Where the study was run: a word in a copy of its brain would reach nobody."""
        study = self._watcher.study
        return study is not None and _home(self._open_brain, study.study_id) is not None

    def told(self, study_id: str, action: str, subject: str, text: str) -> str:
        """Writes the record that `swarm steer` writes, and stops what `swarm stop` stops. Raises SwarmError.

        It may wait for the brain's lock: call it where that holds nobody up.
        """
        brain = self._open_brain()
        study = brain.snapshot().study(study_id)
        layout = layout_near(brain.path)
        if study is None or layout is None or not layout.settings(study_id).exists():
            raise UsageError("this is a copy of a brain: steer the study where it runs")
        if action in STOPS:
            return _stopped(layout, brain, study, STOPS[action])
        if action not in ACTIONS:
            raise UsageError(f"there is nothing called {one_line(action, 40)!r} to do")
        brain.append(steer(study, ACTIONS[action], subject, text))
        later = "" if study.closed is None else " The study has ended: it counts when it goes on."
        return f"Written: {' '.join(filter(None, (action, subject)))}.{later}"


def _stopped(layout: Layout, brain: Brain, study: StudyState, control: Control) -> str:
    if not runs_here(layout, study.study_id):
        raise UsageError(f"{study.study_id} does not run")
    word = "now" if control is Control.NOW else "when running trials are done"
    write_control(layout, study.study_id, control)  # it comes first, since a full disk may keep the record out
    with contextlib.suppress(SwarmError):
        brain.append(steer(study, "stop", text=f"stop {word}, from the page"))
    return f"Asked to stop {word}."


def _home(open_brain: Callable[[], Brain], study_id: str) -> Layout | None:
    layout = layout_near(open_brain().path)
    return layout if layout is not None and layout.settings(study_id).exists() else None
