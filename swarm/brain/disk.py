"""The system calls that may fail on a full or dying disk, and the append that survives their failing."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from swarm.errors import BrainError, DiskFull
from swarm.failpoints import failpoint

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Disk:
    """Straight to the kernel. A test hands `Brain` a disk whose calls fail."""

    def write(self, fd: int, data: bytes) -> int:
        return os.write(fd, data)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def sync(self, fd: int) -> None:
        os.fsync(fd)


class SyncFailed(BrainError):
    """The kernel could not promise that the bytes are on the disk, and asking again proves nothing."""


@contextlib.contextmanager
def opened_for_append(path: Path) -> Iterator[int]:
    """A descriptor for reading and appending; the file is created when it is missing. Hold the lock."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
    except OSError as problem:
        raise BrainError(f"cannot write {path}: {problem.strerror}. Check its folder and permissions.") from problem
    try:
        yield fd
    finally:
        os.close(fd)


def append_durably(disk: Disk, fd: int, path: Path, data: bytes) -> None:
    """Add `data` at the end and wait until the disk has it: all of it or, after an error, none.

    Raises DiskFull, SyncFailed or BrainError. Not promised: a reader without the lock may for a moment see lines that
    a failing append takes back.
    """
    size = os.fstat(fd).st_size
    failpoint("append.before_write")
    _write_whole(disk, fd, path, data, size)
    failpoint("append.after_write")
    try:
        disk.sync(fd)
        if size == 0:
            _sync_folder(disk, path)
    except OSError as problem:
        outcome = _taken_back(disk, fd, size)
        raise SyncFailed(
            f"{path}: fsync failed ({problem.strerror}), so the last append is not safe and was {outcome}."
        ) from problem
    failpoint("append.after_sync")


def set_torn_bytes_aside(disk: Disk, fd: int, path: Path, start: int) -> None:
    """Move what follows the last newline, which ends at `start`, to the `.torn` file beside the brain.

    They are the rest of an append whose writer died; nobody was told that it succeeded.
    """
    torn = os.pread(fd, os.fstat(fd).st_size - start, start)
    if not torn:
        return
    aside = path.with_suffix(".torn")
    failpoint("torn.before_copy")
    with opened_for_append(aside) as aside_fd:
        append_durably(disk, aside_fd, aside, torn + b"\n")
    failpoint("torn.after_copy")
    try:
        disk.truncate(fd, start)
    except OSError as problem:
        raise BrainError(f"cannot cut {len(torn)} torn bytes off {path}: {problem.strerror}") from problem
    failpoint("torn.after_cut")


def _write_whole(disk: Disk, fd: int, path: Path, data: bytes, size: int) -> None:
    try:
        written = disk.write(fd, data)
    except OSError as problem:
        outcome = _taken_back(disk, fd, size)
        kind = DiskFull if problem.errno in _FULL else BrainError
        raise kind(_no_room(path, f"{problem.strerror}; the append was {outcome}", len(data))) from problem
    if written < len(data):
        outcome = _taken_back(disk, fd, size)
        raise DiskFull(_no_room(path, f"{written} bytes fitted; the append was {outcome}", len(data)))


def _no_room(path: Path, what: str, wanted: int) -> str:
    free = f"{shutil.disk_usage(path.parent).free} bytes are free in {path.parent}"
    return f"cannot append {wanted} bytes to {path}: {what}; {free}. Free some space on that disk and try again."


def _taken_back(disk: Disk, fd: int, size: int) -> str:
    try:
        disk.truncate(fd, size)
    except OSError as problem:
        return f"not taken back ({problem.strerror}); the next writer sets a torn line aside"
    return "taken back"


def _sync_folder(disk: Disk, path: Path) -> None:
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        disk.sync(fd)
    finally:
        os.close(fd)
