"""A person's word on its way to the brain, from the page or a notebook: what `swarm steer` and `swarm stop` do."""

import contextlib
from collections.abc import Mapping

from swarm.brain import Brain
from swarm.errors import SwarmError, UsageError
from swarm.orchestrator.control import Control, write_control
from swarm.records import Steer, one_line
from swarm.report.words import many, moment
from swarm.study.settings import Layout
from swarm.study.state import BrainState, StudyState
from swarm.study.steering import Action, steer, steer_limit
from swarm.verdict.slots import held_now
from swarm.watch.readings import layout_near, runs_here

STOPS = {"drain": Control.DRAIN, "now": Control.NOW}
LIMITS = ("trials", "hours")
ACTIONS: dict[str, Action] = {"note": "note", "veto": "veto", "allow": "allow", "boost": "boost", "pin": "pin"}


def home_of(brain: Brain, study_id: str) -> Layout | None:
    """The repository in which this study was run; None for a copy of its brain, in which a word would reach nobody."""
    layout = layout_near(brain.path)
    return layout if layout is not None and layout.settings(study_id).exists() else None


def tell(brain: Brain, study_id: str, action: str, subject: str, text: str, now: float) -> str:
    """Writes the record that `swarm steer` writes, or stops what `swarm stop` stops, and says so. Raises SwarmError.

    `now` in epoch seconds. It may wait for the brain's lock: call it where that holds nobody up.
    """
    study, layout = brain.snapshot().study(study_id), home_of(brain, study_id)
    if study is None or layout is None:
        raise UsageError("this is a copy of a brain: steer the study where it runs")
    if action in STOPS:
        return _stopped(layout, brain, study, STOPS[action])
    later = "" if study.closed is None else " The study has ended: it counts when it goes on."
    if action in LIMITS:
        return change_limits(brain, study_id, {action: subject}, text, now) + later
    if action not in ACTIONS:
        raise UsageError(f"there is nothing called {one_line(action, 40)!r} to do")
    brain.append(steer(study, ACTIONS[action], subject, text))
    return f"Written: {' '.join(filter(None, (action, subject)))}.{later}"


def change_limits(brain: Brain, study_id: str, asked: Mapping[str, str], why: str, now: float) -> str:
    """Another number for `trials`, `hours` or both: a number, or `unlimited`. Says what the study has then.

    Checked and written under the brain's lock, since trials are claimed meanwhile. `now` in epoch seconds. Raises
    UsageError.
    """

    def build(state: BrainState) -> list[Steer]:
        return [steer_limit(state.studies[study_id], name, text, now, why) for name, text in asked.items()]

    brain.transact(build)
    return limits_text(brain.snapshot().studies[study_id])


def limits_text(study: StudyState) -> str:
    """What ends the study now, and what of it is left."""
    limits, claimed = study.limits, len(study.trials)
    trials = "any number of trials" if limits.trials is None else many(limits.trials, "trial")
    until = "without an end" if limits.deadline_at is None else f"until {moment(limits.deadline_at)}"
    held = f", {held_now(study)} are held for its finals" if held_now(study) else ""
    return f"{study.study_id} has {trials}, {until}: {claimed} claimed{held}."


def _stopped(layout: Layout, brain: Brain, study: StudyState, control: Control) -> str:
    if not runs_here(layout, study.study_id):
        raise UsageError(f"{study.study_id} does not run")
    word = "now" if control is Control.NOW else "when running trials are done"
    write_control(layout, study.study_id, control)  # it comes first, since a full disk may keep the record out
    with contextlib.suppress(SwarmError):
        brain.append(steer(study, "stop", text=f"stop {word}, from the page"))
    return f"Asked to stop {word}."
