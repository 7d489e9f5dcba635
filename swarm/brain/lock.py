"""The writers' lock: a kernel flock on a sidecar file that is never deleted.

The kernel frees it when its holder dies, so nobody ever breaks it: a holder that is only stopped or slow still holds
it, and a waiter that loses patience fails and names it.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from swarm.errors import BrainError

_EAGER_POLL_S = 0.001  # an append holds the lock for a fraction of a millisecond plus one fsync
_PATIENT_POLL_S = 0.05
_SPEAK_AFTER_S = 3.0


class WriterLock:
    """Exclusive among processes and among threads. Open one in each process: it does not survive a fork."""

    def __init__(self, path: Path, timeout_s: float, on_wait: Callable[[str], None] | None) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._on_wait = on_wait
        self._lock = FileLock(path, fallback_to_soft=False, preserve_lock_file=True, on_acquired=_sign)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Raises BrainError when it is not free within the timeout, or when the file system has no flock."""
        if not self._path.parent.is_dir():  # filelock would make the folder of a mistyped path
            raise BrainError(f"the folder {self._path.parent} does not exist. Create it or choose another --brain.")
        try:
            self._acquire()
        except OSError as problem:
            raise BrainError(
                f"cannot lock {self._path}: {problem.strerror}. The brain needs a folder that may be written to, on a "
                "file system with flock (a local disk)."
            ) from problem
        try:
            yield
        finally:
            self._lock.release()

    def _acquire(self) -> None:
        first_s = min(_SPEAK_AFTER_S, self._timeout_s)
        with contextlib.suppress(Timeout):
            self._lock.acquire(timeout=first_s, poll_interval=_EAGER_POLL_S)
            return
        if self._on_wait is not None:
            self._on_wait(f"waiting for {self._path}, held by {self._holder()}")
        try:
            self._lock.acquire(timeout=self._timeout_s - first_s, poll_interval=_PATIENT_POLL_S)
        except Timeout:
            raise BrainError(
                f"waited {self._timeout_s:g} s for {self._path}, held by {self._holder()}. It is never broken by "
                "force: continue or end that process, then try again."
            ) from None

    def _holder(self) -> str:
        """Who signed last. Advisory: the lock itself is the kernel's."""
        try:
            pid = int(self._path.read_bytes()[:20])
            stat = Path(f"/proc/{pid}/stat").read_text()
        except ValueError:
            return "an unknown process"
        except OSError:
            return f"pid {pid}, which cannot be seen from here"
        name, state = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2]
        return f"pid {pid} ({name}{', stopped' if state in 'Tt' else ''})"


def _sign(fd: int) -> None:
    os.pwrite(fd, f"{os.getpid():<20d}\n".encode(), 0)
