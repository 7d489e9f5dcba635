"""Which study a notebook shows. It never has nothing to show: until a study of one's own has a trial it is the recorded
one, and says so.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from swarm.brain import Brain
from swarm.errors import RepoError, SwarmError
from swarm.repo import Repo
from swarm.study.settings import Layout
from swarm.study.state import BrainState, StudyState
from swarm.watch.steering import home_of

BRAIN_NAME = "swarm_brain.jsonl"
RECORDED = "A recorded study: it was not run in this folder."
TURNS = "`swarm up` in a terminal begins one of yours, and this view turns to it."


@dataclass(frozen=True, slots=True)
class Shown:
    """`warning` is None for a study that was run here and is the newest."""

    study: StudyState | None
    warning: str | None


def find_brain(path: Path | str | None = None) -> Path:
    """The brain that was named, `swarm_brain.jsonl` in this folder or the nearest one above, or else where this
    repository would have it."""
    if path is not None:
        return Path(path)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / BRAIN_NAME).is_file():
            return folder / BRAIN_NAME
    try:
        return Layout(root=Repo.open(here).root).brain
    except RepoError as error:
        raise SwarmError(f"there is no {BRAIN_NAME} in {here} or above; `swarm up` makes one, or name one") from error


def look(path: Path | str | None = None, study_id: str | None = None) -> Shown:
    """The study as the brain has it now."""
    brain = Brain(find_brain(path))
    return chosen(brain, brain.snapshot(), study_id)


def chosen(brain: Brain, state: BrainState, study_id: str | None = None) -> Shown:
    """The study of this id, or the latest that has a trial, or the one of the committed brain."""
    if study_id is not None:
        study = state.study(study_id)
        return Shown(study, None if study is not None else f"There is no study {study_id} in {brain.path.name} yet.")
    study, newest = state.latest, state.newest
    if study is None or not study.trials:
        begun = f"{study.study_id} has begun and has no trial yet. " if study is not None else ""
        recorded = recorded_study(brain.path)
        if recorded is None:
            return Shown(study, f"{begun}Nothing is recorded here. {TURNS}" if study is None else begun.strip())
        return Shown(recorded, f"{begun}{RECORDED} {'' if begun else TURNS}".strip())
    if newest is not None and newest is not study:
        return Shown(study, f"{newest.study_id} has begun and has no trial yet. This is {study.study_id}.")
    if home_of(brain, study.study_id) is None:
        return Shown(study, f"{RECORDED} {TURNS}")
    return Shown(study, None)


def recorded_study(brain: Path) -> StudyState | None:
    """The latest one of the brain as the repository around it has committed it; None where nothing is committed."""
    try:
        repo = Repo.open(brain.absolute().parent)
        text = repo.read(repo.head(), BRAIN_NAME)
    except RepoError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / BRAIN_NAME
        copy.write_text(text, encoding="utf-8")
        return Brain(copy).snapshot().latest
