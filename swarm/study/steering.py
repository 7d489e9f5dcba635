"""A person's word to the workers, checked and made a record. Pure: whoever has it appends it."""

import math
from typing import Literal

from swarm.errors import UsageError
from swarm.program.families import FAMILIES, OTHER
from swarm.records import MAX_DESCRIPTION, Steer, one_line
from swarm.study.limits import Limit
from swarm.study.options import FEWEST_HOURS, MOST_HOURS, MOST_TRIALS, UNLIMITED, limit
from swarm.study.state import StudyState

Action = Literal["note", "veto", "allow", "pin", "boost", "budget", "stop"]
KNOWN_FAMILIES = (*FAMILIES, OTHER)
HINTS = frozenset({"note", "pin", "boost"})
"""Read by language models in each prompt from then on; the embedded proposers do not read them."""


def steer(study: StudyState, action: Action, subject: str = "", text: str = "") -> Steer:
    """`subject`: a family to veto, allow or boost, a program to pin. Raises UsageError naming what would do."""
    text = text.strip()
    if len(text) > MAX_DESCRIPTION:
        raise UsageError(f"the text has {len(text)} characters; at most {MAX_DESCRIPTION} are kept: shorten it")
    match action:
        case "note":
            if not text:
                raise UsageError("the note is empty")
        case "veto" | "allow" | "boost":
            _check_family(study, action, subject)
        case "pin":
            if subject not in study.programs:
                known = ", ".join([program.name for program in study.ranked()][:10]) or "none yet"
                raise UsageError(f"there is no program {subject!r} in {study.study_id}; the best are {known}")
    return Steer(agent_id="person", study_id=study.study_id, action=action, subject=subject, description=text)


def steer_limit(study: StudyState, name: str, text: str, now: float, why: str = "") -> Steer:
    """Another number of `trials` in all, or another end: `hours` from `now`, which is in epoch seconds. The word
    `unlimited` lifts it. Raises UsageError naming what the study has and what would do."""
    if name not in ("trials", "hours"):
        raise UsageError(f"there is no limit called {one_line(name, 40)!r}; a study has trials and hours")
    asked = limit(name, text.strip(), int if name == "trials" else float)
    assert asked is not None
    if name == "trials":
        return _limit(study, "trials", None if asked == math.inf else _trials(study, asked), why)
    if asked != math.inf and not FEWEST_HOURS <= asked <= MOST_HOURS:
        allowed = f"must lie between {FEWEST_HOURS:g} and {MOST_HOURS:g}; `swarm stop` ends the study at once"
        raise UsageError(f"hours is {asked:g}, counted from now, and {allowed}")
    return _limit(study, "deadline_at", None if asked == math.inf else now + asked * 3600, why)


def _trials(study: StudyState, asked: float) -> float:
    claimed = len(study.trials)
    if not max(1, claimed) <= asked <= MOST_TRIALS:
        raise UsageError(
            f"trials is {asked:g}, and {study.study_id} has claimed {claimed} already: give {max(1, claimed)} to "
            f"{MOST_TRIALS}, those of its finals included, or end it with `swarm stop`"
        )
    return asked


def _limit(study: StudyState, name: Limit, value: float | None, why: str) -> Steer:
    if value == getattr(study.limits, name):
        has = UNLIMITED if value is None else f"{value:g}"
        raise UsageError(f"{study.study_id} has {name} {has} already: there is nothing to change")
    steered = steer(study, "budget", name, why)
    return steered.model_copy(update={"value": value})


def _check_family(study: StudyState, action: Action, family: str) -> None:
    if family not in KNOWN_FAMILIES:
        raise UsageError(f"there is no family {family!r}; the families are {', '.join(KNOWN_FAMILIES)}")
    if action == "allow" and family not in study.vetoes:
        raise UsageError(f"{family} is not vetoed in {study.study_id}; vetoed: {', '.join(study.vetoes) or 'nothing'}")
    if action == "boost" and family in study.vetoes:
        raise UsageError(f"{family} is vetoed in {study.study_id}: allow it first")
