"""Processes as /proc shows them. A process may vanish between any two reads; it is then simply not there."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """One line of /proc/<pid>/stat. `starttime` is in clock ticks since boot: with the pid it names a process."""

    pid: int
    ppid: int
    pgrp: int
    session: int
    starttime: int
    cpu_seconds: float
    """Its own CPU time and that of the children it has waited for."""
    threads: int


def read(pid: int) -> Process | None:
    """None when there is no such process."""
    try:
        line = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field, the command's name in brackets, may itself hold spaces and brackets.
    rest = line[line.rindex(")") + 2 :].split()
    ticks = sum(int(field) for field in rest[11:15])
    return Process(pid, int(rest[1]), int(rest[2]), int(rest[3]), int(rest[19]), ticks / _TICKS_PER_S, int(rest[17]))


def is_zombie(pid: int) -> bool:
    return _state(pid) == "Z"


def is_stopped(pid: int) -> bool:
    """By a signal or a debugger: it is there, and does nothing."""
    return _state(pid) in ("T", "t")


def _state(pid: int) -> str:
    """One letter; empty when there is no such process."""
    try:
        return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return ""


def every() -> Iterator[Process]:
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (process := read(int(entry.name))) is not None:
            yield process


def descendants(root: int) -> list[Process]:
    """All processes below `root` by parent pid, zombies included, `root` itself not."""
    children: dict[int, list[Process]] = {}
    for process in every():
        children.setdefault(process.ppid, []).append(process)
    found: list[Process] = []
    waiting = [root]
    while waiting:
        below = children.pop(waiting.pop(), [])
        found += below
        waiting += [process.pid for process in below]
    return found


def is_alive(pid: int, starttime: int) -> bool:
    """Whether this very process runs; a zombie does not, and neither does another one with its number."""
    process = read(pid)
    return process is not None and process.starttime == starttime and not is_zombie(pid)


def environ(pid: int) -> dict[bytes, bytes]:
    """Its environment as it was at its last exec; empty when it is gone or not ours to read."""
    try:
        block = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.partition(b"=") for entry in block.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def written_paths(pid: int) -> Iterator[str]:
    """The files that it holds open for writing, as far as we may see them."""
    folder = _PROC / str(pid)
    try:
        descriptors = [entry.name for entry in (folder / "fd").iterdir()]
    except OSError:
        return
    for descriptor in descriptors:
        try:
            path = str((folder / "fd" / descriptor).readlink())
            if path.startswith("/") and _flags(folder / "fdinfo" / descriptor) & os.O_ACCMODE != os.O_RDONLY:
                yield path
        except OSError:
            continue


def _flags(fdinfo: Path) -> int:
    for line in fdinfo.read_text().splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8)
    return os.O_RDONLY


def count_threads(pid: int) -> int:
    """Threads of a process; 0 when it is gone."""
    try:
        return sum(1 for _ in (_PROC / str(pid) / "task").iterdir())
    except OSError:
        return 0


def boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def resident_mib(pid: int) -> float:
    """Memory that it has touched and that is no file's, pages shared with its parent since a fork included."""
    return _sum_mib(_PROC / str(pid) / "status", ("RssAnon:", "RssShmem:"))


def own_share_mib(pid: int) -> float:
    """The same with shared pages divided among those who share them. Walks all its pages: ask only when it matters."""
    return _sum_mib(_PROC / str(pid) / "smaps_rollup", ("Pss_Anon:", "Pss_Shmem:"))


def deleted_bytes(pid: int) -> int:
    """On disk, of files without a name that it holds open."""
    total = 0
    with suppress(OSError):
        for entry in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                if str(entry.readlink()).startswith("/") and (facts := entry.stat()).st_nlink == 0:
                    total += facts.st_blocks * 512
    return total


def _sum_mib(path: Path, names: tuple[str, ...]) -> float:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(names)) / 1024
