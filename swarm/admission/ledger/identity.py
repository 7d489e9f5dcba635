"""A process by pid and start time: a pid alone is used again, and means nothing after a boot."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    pid: int
    starttime: int

    @property
    def alive(self) -> bool:
        """The same process, and not a zombie."""
        return _stat(self.pid) is not None and starttime_of(self.pid) == self.starttime


def identify(pid: int) -> Identity:
    """Raises ProcessLookupError when there is no such process."""
    started = starttime_of(pid)
    if started is None:
        raise ProcessLookupError(f"no process {pid}")
    return Identity(pid, started)


def starttime_of(pid: int) -> int | None:
    """Field 22 of /proc/<pid>/stat, in clock ticks since the boot. None for a dead process or a zombie."""
    fields = _stat(pid)
    return None if fields is None else int(fields[19])


@cache
def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def descendants(roots: dict[int, str]) -> dict[int, str]:
    """Each living process below one of the roots (the roots too), with the label of its root."""
    if not roots:
        return {}
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 (names only; this runs at every poll)
        if entry.isdigit() and (fields := _stat(int(entry))) is not None:
            parents[int(entry)] = int(fields[1])
    found: dict[int, str] = {}
    for pid in parents:
        ancestor, seen = pid, 0
        while ancestor in parents and ancestor not in roots and seen < len(parents):
            ancestor, seen = parents[ancestor], seen + 1
        if ancestor in roots:
            found[pid] = roots[ancestor]
    return found


def _stat(pid: int) -> list[str] | None:
    """Fields from the third on; the second, the name, may hold anything."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields
