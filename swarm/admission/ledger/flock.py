"""Kernel locks: whether a process lives is told by the lock that it holds.

A `flock` belongs to an open file description: a process that inherits the descriptor shares it, and the kernel frees it
when the last of them is dead. No timeout, no liveness guess, no pid that can be used again.
"""

import os
from pathlib import Path

from swarm.errors import AdmissionError

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def open_locked(path: Path) -> int:
    """Create the file and lock it; the descriptor is the lock. Raises AdmissionError when somebody holds it."""
    descriptor = os.open(path, _FLAGS, 0o600)
    if not try_lock(descriptor):
        os.close(descriptor)
        raise AdmissionError(f"{path} is locked by another process")
    return descriptor


def try_lock(descriptor: int) -> bool:
    import fcntl  # here, since what only reads a ledger runs where there is none, too

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Does a living process hold this lock? False for a file that is not there."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)


def prove_exclusion(folder: Path) -> None:
    """Raise AdmissionError when `flock` does not exclude in this folder (network and overlay file systems).

    Two descriptions of one file must exclude each other within one process too; emulations through POSIX locks, which
    belong to processes, do not.
    """
    path = folder / "flock.selftest"
    remedy = "Set SWARM_GPU_DIR to a folder on a local disk."
    first = os.open(path, _FLAGS, 0o600)
    try:
        if not try_lock(first):
            return  # another process proves it at this very moment
        second = os.open(path, _FLAGS, 0o600)
        try:
            if try_lock(second):
                raise AdmissionError(f"flock does not exclude in {folder}: two holders at once. {remedy}")
        finally:
            os.close(second)
    except OSError as error:
        raise AdmissionError(f"flock does not work in {folder}: {error}. {remedy}") from error
    finally:
        os.close(first)


def holders(path: Path) -> list[int]:
    """Pids of this user's processes that have the file open, our own left out."""
    target, found = str(path.resolve()), []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            if any(str(link.readlink()) == target for link in (process / "fd").iterdir()):
                found.append(int(process.name))
        except OSError:  # not ours, or gone
            continue
    return found
