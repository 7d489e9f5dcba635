"""Cores for a trial: whatever it starts runs on as many as it was given, and its neighbours have the others.

One lock file for each core and each place on it, shared by all trials of a user on this machine. A trial takes the
first free places, so that cores are shared only when there are more threads than cores; the kernel frees them when its
supervisor dies.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

_MOST_PLACES = 64


class Cores:
    """The places that this process holds; `close` gives them back."""

    def __init__(self, numbers: frozenset[int], locks: list[int]) -> None:
        self.numbers = numbers
        self._locks = locks

    @classmethod
    def take(cls, folder: Path, count: int) -> "Cores | None":
        """`count` different cores of those that this process may use. None where that is all of them, or where the disk
        refuses. The phases are bound to them; the supervisor is not, or a storm in a phase would keep it from its work.
        """
        usable = sorted(os.sched_getaffinity(0))
        if count >= len(usable):
            return None
        taken: dict[int, int] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for place in range(_MOST_PLACES):
                for core in usable:
                    if core not in taken and (lock := _try(folder / f"{core}.{place}")) is not None:
                        taken[core] = lock
                        if len(taken) == count:
                            return cls(frozenset(taken), list(taken.values()))
        except OSError:
            pass
        for lock in taken.values():
            os.close(lock)
        return None

    def close(self) -> None:
        for lock in self._locks:
            os.close(lock)
        self._locks.clear()


def _try(path: Path) -> int | None:
    """The lock on `path`; None when somebody has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor
    os.close(descriptor)
    return None
