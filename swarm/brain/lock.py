"""The writers' lock: a kernel flock on a sidecar file that is never deleted.

The kernel frees it when its holder dies, so nobody ever breaks it: a holder that is only stopped or slow still holds
it, and a waiter that loses patience fails and names it.

It is filelock's descriptor lock, which excludes and is excluded by a `FileLock` on the same path. One attempt of it
costs two microseconds against a hundred, so many waiters may try often without taking the processor from the holder.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import lock_descriptor

from swarm.clock import Clock
from swarm.errors import BrainError
from swarm.failpoints import failpoint

_EAGER_POLL_S = 0.0005  # an append holds the lock for a fraction of a millisecond plus one fsync
_PATIENT_POLL_S = 0.05
_EAGER_S = 3.0


class WriterLock:
    """Exclusive among processes and among threads. It does not nest."""

    def __init__(self, path: Path, clock: Clock, timeout_s: float) -> None:
        self._path = path
        self._clock = clock
        self._timeout_s = timeout_s

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Raises BrainError when it is not free within the timeout, or when the file system has no flock."""
        try:
            failpoint("lock.before")
            fd = self._acquired()
        except OSError as problem:
            raise BrainError(
                f"cannot lock {self._path}: {problem.strerror}. The brain needs a folder that exists and may be "
                "written to, on a file system with flock (a local disk)."
            ) from problem
        try:
            failpoint("lock.after")
            yield
            failpoint("unlock.before")
        finally:
            os.close(fd)  # nobody else has this open file description, so this frees the lock
        failpoint("unlock.after")

    def _acquired(self) -> int:
        """A descriptor that holds the lock of the file which is at the path now, signed by this process."""
        deadline = self._clock.monotonic() + self._timeout_s
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                self._wait_for(fd, deadline)
                if is_at(self._path, fd):
                    os.pwrite(fd, f"{os.getpid():<20d}\n".encode(), 0)
                    return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # somebody deleted the file while this process waited: lock the new one

    def _wait_for(self, fd: int, deadline: float) -> None:
        patient_from = self._clock.monotonic() + _EAGER_S
        while not lock_descriptor(fd, blocking=False):
            now = self._clock.monotonic()
            if now >= deadline:
                raise BrainError(
                    f"waited {self._timeout_s:g} s for {self._path}, held by {self._holder()}. It is never broken by "
                    "force: continue or end that process, then try again."
                )
            self._clock.sleep(_EAGER_POLL_S if now < patient_from else _PATIENT_POLL_S)

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


def is_at(path: Path, fd: int) -> bool:
    """Whether the path still leads to the file that this descriptor has open."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
