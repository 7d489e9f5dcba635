"""A person's word to the workers, checked and made a record. Pure: whoever has it appends it."""

from typing import Literal

from swarm.errors import UsageError
from swarm.program.families import FAMILIES, OTHER
from swarm.records import MAX_DESCRIPTION, Steer
from swarm.study.state import StudyState

Action = Literal["note", "veto", "allow", "pin", "boost", "stop"]
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


def _check_family(study: StudyState, action: Action, family: str) -> None:
    if family not in KNOWN_FAMILIES:
        raise UsageError(f"there is no family {family!r}; the families are {', '.join(KNOWN_FAMILIES)}")
    if action == "allow" and family not in study.vetoes:
        raise UsageError(f"{family} is not vetoed in {study.study_id}; vetoed: {', '.join(study.vetoes) or 'nothing'}")
    if action == "boost" and family in study.vetoes:
        raise UsageError(f"{family} is vetoed in {study.study_id}: allow it first")
