"""A person's word on its way to the brain, from the page or a notebook: what `swarm steer` and `swarm stop` do."""

import contextlib

from swarm.brain import Brain
from swarm.errors import SwarmError, UsageError
from swarm.orchestrator.control import Control, write_control
from swarm.records import one_line
from swarm.study.settings import Layout
from swarm.study.state import StudyState
from swarm.study.steering import Action, steer
from swarm.watch.readings import layout_near, runs_here

STOPS = {"drain": Control.DRAIN, "now": Control.NOW}
ACTIONS: dict[str, Action] = {"note": "note", "veto": "veto", "allow": "allow", "boost": "boost", "pin": "pin"}


def home_of(brain: Brain, study_id: str) -> Layout | None:
    """The repository in which this study was run; None for a copy of its brain, in which a word would reach nobody."""
    layout = layout_near(brain.path)
    return layout if layout is not None and layout.settings(study_id).exists() else None


def tell(brain: Brain, study_id: str, action: str, subject: str, text: str) -> str:
    """Writes the record that `swarm steer` writes, or stops what `swarm stop` stops, and says so. Raises SwarmError.

    It may wait for the brain's lock: call it where that holds nobody up.
    """
    study, layout = brain.snapshot().study(study_id), home_of(brain, study_id)
    if study is None or layout is None:
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
