"""Which study of a brain is meant: the one owner of that question. Pure."""

from pathlib import Path

from swarm.errors import SwarmError, UsageError
from swarm.study.state import BrainState, StudyState


def study_named(state: BrainState, name: str | None, brain: Path, unreadable: int = 0) -> StudyState:
    """The study with this id or an unambiguous beginning of it; None is the latest that has a trial.

    `unreadable` is the number of lines of the brain that are no records. Raises SwarmError when there is no study at
    all, and UsageError for a name that fits none or several.
    """
    if state.latest is None:
        bad = f"; {unreadable} lines cannot be read, see swarm verify --brain {brain}" if unreadable else ""
        old = f" ({len(state.history)} lines of the original format)" if state.history else ""
        raise SwarmError(f"{brain} holds no study yet{old}{bad}. `swarm up` begins one, --brain names another file")
    if name is None:
        return state.latest
    matches = [study for study_id, study in state.studies.items() if study_id.startswith(name)]
    exact = state.studies.get(name)
    if exact is not None or len(matches) == 1:
        return exact or matches[0]
    known = ", ".join(state.studies)
    raise UsageError(f"--study {name!r} fits {len(matches)} studies of {brain}, which holds {known}")
