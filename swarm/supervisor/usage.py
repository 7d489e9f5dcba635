"""What a phase takes of the machine besides time: memory, processes, files. Looked at from outside, once a second.

Limits that the kernel keeps for a single process (`child`) do not add up over a tree, and none of them counts files.
"""

import errno
import os
from collections.abc import Iterable
from typing import Literal

from swarm.supervisor import proc

Excess = Literal["memory_limit", "process_limit", "disk_limit"]

MOST_THREADS = 384
"""Threads of all processes of a phase. A training with torch has about ten."""
MOST_FILES = 20_000
MOST_FILE_MIB = 3072

_LOOK_S = 1.0
_MIB = 1024 * 1024


class UsageWatch:
    """Over the descendants of this process, and the folders that they may write."""

    def __init__(self, folders: Iterable[str], memory_limit_mib: int | None, moment: float) -> None:
        self.detail = ""
        self._folders = tuple(folders)
        self._memory_limit_mib = memory_limit_mib
        self._looked = moment

    def look(self, moment: float) -> Excess | None:
        """The limit that is exceeded; `detail` then says by what."""
        if moment - self._looked < _LOOK_S:
            return None
        self._looked = moment
        return self._over(proc.descendants(os.getpid()))

    def _over(self, processes: list[proc.Process]) -> Excess | None:
        threads = sum(process.threads for process in processes)
        if threads > MOST_THREADS:
            self.detail = f"{len(processes)} processes with {threads} threads, limit {MOST_THREADS}"
            return "process_limit"
        limit = self._memory_limit_mib
        if limit is not None and sum(proc.resident_mib(process.pid) for process in processes) > limit:
            used = sum(proc.own_share_mib(process.pid) for process in processes)
            if used > limit:
                self.detail = f"{used:.0f} MiB of memory in {len(processes)} processes, limit {limit}"
                return "memory_limit"
        files, used_bytes = measure(self._folders)
        used_bytes += sum(proc.deleted_bytes(process.pid) for process in processes)
        if files > MOST_FILES or used_bytes > MOST_FILE_MIB * _MIB:
            self.detail = f"{files} files, {used_bytes // _MIB} MiB; limits {MOST_FILES} and {MOST_FILE_MIB} MiB"
            return "disk_limit"
        return None


def measure(folders: Iterable[str]) -> tuple[int, int]:
    """(files and folders, bytes on disk) below `folders`. Stops counting a little above MOST_FILES, which is also what
    a tree too deep for a path counts as."""
    files = used = 0
    waiting = list(folders)
    while waiting and files <= MOST_FILES:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    files += 1
                    facts = entry.stat(follow_symlinks=False)
                    used += facts.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    if files > MOST_FILES:
                        break
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return MOST_FILES + 1, used
    return files, used
