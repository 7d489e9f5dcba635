"""The study as all who watch the page see it: one look for all of them, and a person's word on its way to the brain."""

from collections.abc import Callable

from swarm.brain import Brain
from swarm.clock import Clock
from swarm.report.evidence import NOTHING, Evidence
from swarm.report.figures import DRAWINGS, draw
from swarm.report.figures.drawing import Theme
from swarm.study.state import StudyState
from swarm.watch.frame import Frame
from swarm.watch.steering import home_of, tell
from swarm.watch.watching import LOOK_EVERY_S, Watcher
from swarm.watch.web.page import TABLES, table


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
        return study is not None and home_of(self._open_brain(), study.study_id) is not None

    def told(self, study_id: str, action: str, subject: str, text: str) -> str:
        """Writes the record that `swarm steer` writes, and stops what `swarm stop` stops. Raises SwarmError.

        It may wait for the brain's lock: call it where that holds nobody up.
        """
        return tell(self._open_brain(), study_id, action, subject, text, self._clock.now())
