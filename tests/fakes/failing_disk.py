"""Disks whose calls fail, for `swarm.brain`. Each still goes to the real file for all that it does not fail."""

import errno
import os
import signal

from swarm.brain import Disk


class UnsyncedDisk(Disk):
    """Skips fsync: for tests that append thousands of times and pull no plug."""

    def sync(self, fd: int) -> None:
        pass


class RecordingDisk(Disk):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def write(self, fd: int, data: bytes) -> int:
        self.calls.append("write")
        return super().write(fd, data)

    def truncate(self, fd: int, size: int) -> None:
        self.calls.append("truncate")
        super().truncate(fd, size)

    def sync(self, fd: int) -> None:
        self.calls.append("sync")
        super().sync(fd)


class ShortDisk(Disk):
    """Takes only so many bytes of the next write, as a full disk does before it says ENOSPC."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, fd: int, data: bytes) -> int:
        return super().write(fd, data[: self.room])


class FailingDisk(Disk):
    """Raises `OSError(error)` from the calls named in `failing`; empty the set to heal it."""

    def __init__(self, *failing: str, error: int = errno.EIO) -> None:
        self.failing = set(failing)
        self.error = error

    def _maybe_fail(self, call: str) -> None:
        if call in self.failing:
            raise OSError(self.error, os.strerror(self.error))

    def write(self, fd: int, data: bytes) -> int:
        self._maybe_fail("write")
        return super().write(fd, data)

    def truncate(self, fd: int, size: int) -> None:
        self._maybe_fail("truncate")
        super().truncate(fd, size)

    def sync(self, fd: int) -> None:
        self._maybe_fail("sync")
        super().sync(fd)


class DeadlyDisk(Disk):
    """The process is killed when half of a line is written."""

    def write(self, fd: int, data: bytes) -> int:
        super().write(fd, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("still alive")
