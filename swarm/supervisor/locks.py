"""How long a process tree held a file lock for itself, as the kernel shows it in /proc/locks."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from swarm.supervisor import proc

_LOOK_S = 0.5


class LockWatch:
    """Samples twice a second: `held_s` is right to about that much for every time that a lock was taken.

    A lock counts while the process that took it lives; where /proc/locks cannot be read, nothing is counted.
    """

    def __init__(self, paths: Iterable[str], moment: float) -> None:
        self.held_s = 0.0
        self._inodes = {str(Path(path).stat().st_ino) for path in paths}
        self._looked = moment

    def look(self, moment: float) -> None:
        if self._inodes and moment - self._looked >= _LOOK_S:
            self.held_s += (moment - self._looked) if self._is_held() else 0.0
            self._looked = moment

    def _is_held(self) -> bool:
        holders = {lock.pid for lock in _exclusive_locks() if lock.inode in self._inodes}
        return bool(holders) and not holders.isdisjoint(process.pid for process in proc.descendants(os.getpid()))


@dataclass(frozen=True)
class _Lock:
    pid: int
    inode: str


def _exclusive_locks() -> Iterator[_Lock]:
    """Locks that somebody took by `flock` for himself; who waits for one has `->` in front of the word."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return
    for line in lines:  # 7: FLOCK  ADVISORY  WRITE 4242 08:02:131106 0 EOF
        _, kind, _, mode, pid, file, *_ = line.split()
        if (kind, mode) == ("FLOCK", "WRITE"):
            yield _Lock(int(pid), inode=file.rpartition(":")[2])
