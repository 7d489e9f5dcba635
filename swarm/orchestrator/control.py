"""How processes of one repository find each other: the lock of its one orchestrator, and the wish to stop.

Both lie in files below `.swarm/`, so that a worker, `swarm stop` and the orchestrator agree without talking.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from swarm.errors import SwarmError
from swarm.study.settings import Layout


class Control(StrEnum):
    """What the person at the keyboard wants of a study."""

    RUN = "run"
    DRAIN = "drain"  # running trials finish, none starts
    NOW = "now"  # running trials are stopped


def read_control(layout: Layout, study_id: str) -> Control:
    try:
        return Control(layout.control(study_id).read_text(encoding="utf-8").strip())
    except (FileNotFoundError, ValueError):
        return Control.RUN


def write_control(layout: Layout, study_id: str, control: Control) -> None:
    _replace(layout.control(study_id), control)


class Holder(BaseModel):
    """Who holds the orchestrator's lock, as it wrote itself down. A hint: the lock is the truth."""

    model_config = ConfigDict(frozen=True)

    pid: int
    study_id: str


def holder(layout: Layout) -> Holder | None:
    """None when no orchestrator runs, or while it has not opened its study yet."""
    try:
        return Holder.model_validate_json(layout.orchestrator_record.read_bytes())
    except (OSError, ValidationError):
        return None


def orchestrator_runs(layout: Layout) -> bool:
    if not layout.orchestrator_lock.exists():
        return False
    try:
        with FileLock(layout.orchestrator_lock, fallback_to_soft=False).acquire(timeout=0):
            return False
    except Timeout:
        return True


@contextlib.contextmanager
def only_orchestrator(layout: Layout) -> Iterator[Callable[[str], None]]:
    """At most one orchestrator a repository, since agents are named. Raises SwarmError naming the one that runs.

    Yields a function that tells others (`swarm stop`) the id of the study, once it is known.
    """
    layout.runtime.mkdir(parents=True, exist_ok=True)
    lock = FileLock(layout.orchestrator_lock, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        other = holder(layout)
        who = f"pid {other.pid}, study {other.study_id}" if other else "another process"
        raise SwarmError(
            f"a swarm is running in {layout.root} already ({who}). Watch it with `swarm status`, or end it with "
            "`swarm stop`."
        ) from None
    try:
        yield lambda study_id: _announce(layout, study_id)
    finally:
        layout.orchestrator_record.unlink(missing_ok=True)
        lock.release()


def _announce(layout: Layout, study_id: str) -> None:
    _replace(layout.orchestrator_record, Holder(pid=os.getpid(), study_id=study_id).model_dump_json())


def _replace(path: Path, text: str) -> None:
    """Readers see the old text or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
