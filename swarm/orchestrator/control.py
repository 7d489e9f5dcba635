"""How processes of one repository find each other: the lock of its one orchestrator, and the wish to stop.

Both lie in files below `.swarm/`, so that a worker, `swarm stop` and the orchestrator agree without talking.
"""

import contextlib
import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from swarm.brain.room import free_mib
from swarm.errors import SwarmError
from swarm.failpoints import failpoint
from swarm.repo.runtime import make_runtime
from swarm.study.settings import Layout

ORCHESTRATOR_VARIABLE = "SWARM_ORCHESTRATOR"  # pid of the process that started a worker, in the worker's environment


class Control(StrEnum):
    """What the person at the keyboard wants of a study."""

    RUN = "run"
    FINALS = "finals"  # running trials finish, and then only the finals run
    DRAIN = "drain"  # running trials finish, none starts
    NOW = "now"  # running trials are stopped


_WORD_BYTES = 8  # every word has as many, in a file that is written in place


def read_control(layout: Layout, study_id: str) -> Control:
    try:
        return Control(layout.control(study_id).read_text(encoding="utf-8").strip())
    except (FileNotFoundError, ValueError):
        return Control.RUN


def write_control(layout: Layout, study_id: str, control: Control) -> None:
    """In place where there is a word already, so that a full disk keeps nobody from stopping a study."""
    path = layout.control(study_id)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        _replace(path, control)
        return
    try:
        failpoint("control.before_word")
        os.pwrite(fd, control.encode().ljust(_WORD_BYTES), 0)  # one write: half a word is no word
        failpoint("control.after_word")
    finally:
        os.close(fd)


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


class Reign:
    """The lock of the one orchestrator, while it is held. `study_id` is known once the study is open."""

    def __init__(self, layout: Layout) -> None:
        """Raises SwarmError naming the orchestrator that runs already."""
        self._layout = layout
        self._study_id: str | None = None
        self._lock = self._locked()

    def announce(self, study_id: str) -> None:
        """Tell others (`swarm stop`) which study runs."""
        self._study_id = study_id
        _replace(self._layout.orchestrator_record, Holder(pid=os.getpid(), study_id=study_id).model_dump_json())

    def renew(self) -> None:
        """Take the lock again where somebody has deleted its file. Raises SwarmError when another orchestrator was
        quicker."""
        if _identity(self._layout.orchestrator_lock) == self._file:
            return
        self._lock = self._locked()
        if self._study_id is not None:
            self.announce(self._study_id)

    def end(self) -> None:
        if _identity(self._layout.orchestrator_lock) == self._file:
            with contextlib.suppress(OSError):
                self._layout.orchestrator_record.unlink(missing_ok=True)
        self._lock.release()

    def _locked(self) -> BaseFileLock:
        layout = self._layout
        make_runtime(layout)
        lock = FileLock(layout.orchestrator_lock, fallback_to_soft=False)
        failpoint("orchestrator.before_lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            other = holder(layout)
            who = f"pid {other.pid}, study {other.study_id}" if other else "another process"
            raise SwarmError(
                f"a swarm is running in {layout.root} already ({who}). Watch it with `swarm status`, or end it with "
                "`swarm stop`."
            ) from None
        failpoint("orchestrator.after_lock")
        self._file = _identity(layout.orchestrator_lock)
        return lock


@contextlib.contextmanager
def only_orchestrator(layout: Layout) -> Iterator[Reign]:
    """At most one orchestrator a repository, since agents are named. Raises SwarmError naming the one that runs, and
    where the folder cannot be written to."""
    try:
        reign = Reign(layout)
    except OSError as problem:
        raise SwarmError(
            f"cannot write to {layout.runtime}: {problem.strerror} ({free_mib(layout.root):.1f} MiB are free). A study "
            "needs it for its trials: check its permissions and its disk."
        ) from problem
    try:
        yield reign
    finally:
        reign.end()


def _identity(path: Path) -> tuple[int, int] | None:
    """Of the file that is there now."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _replace(path: Path, text: str) -> None:
    """Readers see the old text or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    failpoint("control.before_draft")
    fresh.write_text(text, encoding="utf-8")
    failpoint("control.drafted")
    fresh.replace(path)
    failpoint("control.replaced")
