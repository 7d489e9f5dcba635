"""One look after the other at the study that a brain holds."""

from collections import deque
from collections.abc import Callable, Iterator

from swarm.brain import Brain
from swarm.clock import Clock, SystemClock
from swarm.errors import SwarmError
from swarm.report.events import Event, Events
from swarm.study.state import BrainState, StudyState
from swarm.watch.frame import Frame
from swarm.watch.readings import Readings, layout_near
from swarm.watch.view import EVENTS, Facts, facts, frame

LOOK_EVERY_S = 1.0


class Watcher:
    """Frames of a study that goes on. `choose` picks the study of a state: a newer one may begin meanwhile.

    Not thread-safe: the brain's state is one live object.
    """

    def __init__(self, brain: Brain, readings: Readings, choose: Callable[[BrainState], StudyState | None]) -> None:
        self._brain = brain
        self._readings = readings
        self._choose = choose
        self._known: Facts | None = None
        self._events = Events()
        self._told: deque[Event] = deque(maxlen=EVENTS)
        self._shown: tuple[object, ...] = ()

    @property
    def study(self) -> StudyState | None:
        """As of the last frame."""
        return self._known.study if self._known is not None else None

    def look(self) -> Frame | None:
        """None while the brain holds no study."""
        state = self._brain.snapshot()
        study = self._choose(state)
        if study is None:
            return None
        if self._known is None or self._known.study is not study:
            self._events, self._told = Events(), deque(maxlen=EVENTS)
        if self._known is None or self._known.study is not study or self._known.seq != state.seq:
            self._told.extend(self._events.fresh(study))
            self._known = facts(study, state.seq, tuple(self._told))
        return frame(self._known, self._readings.take(study))

    def need(self) -> Frame:
        """As `look`. Raises SwarmError when there is no study."""
        seen = self.look()
        if seen is None:
            raise SwarmError(f"{self._brain.path} holds no such study; `swarm up` begins one")
        return seen

    def changed(self) -> Frame | None:
        """A frame when there is more to see than a mere step since the last one that was given so."""
        seen = self.look()
        if seen is None or self._shown == (shown := _gist(seen)):
            return None
        self._shown = shown
        return seen

    def changes(self, clock: Clock) -> Iterator[Frame]:
        """The first frame and one for each change that is not a mere step; until the study has ended."""
        while True:
            seen = self.changed()
            if seen is not None:
                yield seen
            if seen is not None and seen.state == "ended":
                return
            clock.sleep(LOOK_EVERY_S)


def watch_study(brain: Brain, study_id: str | None, clock: Clock, *, ledger: bool = True) -> Watcher:
    """Of one study, or of the latest one at each look. Its steps are read from the repository around the brain."""
    return watch_chosen(brain, lambda state: state.study(study_id), clock, ledger=ledger)


def watch_chosen(
    brain: Brain, choose: Callable[[BrainState], StudyState | None], clock: Clock, *, ledger: bool = True
) -> Watcher:
    """Of the study that `choose` picks at each look."""
    return Watcher(brain, Readings(layout_near(brain.path), clock, ledger=ledger), choose)


def one_look(brain: Brain, study_id: str | None) -> Frame:
    """Raises SwarmError when there is no such study."""
    return watch_study(brain, study_id, SystemClock()).need()


def _gist(seen: Frame) -> tuple[object, ...]:
    slots = tuple((slot.trial_id, slot.doing) for slot in seen.slots)
    return seen.seq, seen.state, seen.trouble, slots, tuple((node.name, node.state, node.runs) for node in seen.nodes)
