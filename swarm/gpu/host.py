"""What this process may use of the machine: cgroup limits first, hardware second.

Inside a container `os.cpu_count()` and MemTotal describe the host, and a program that believes them is killed.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
_UNLIMITED_V1 = 1 << 60  # v1 writes "no limit" as a page-rounded LONG_MAX


@dataclass(frozen=True, slots=True)
class HostLimits:
    """Upper bounds for everything that this user's trials hold together."""

    cpu_slots: int
    ram_mib: int


def host_limits(*, proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> HostLimits:
    total_mib = memory_info(proc)["MemTotal"] // 1024
    limit = memory_limit_bytes(proc, cgroup)
    return HostLimits(
        cpu_slots=cpu_slots(proc, cgroup),
        ram_mib=total_mib if limit is None else min(total_mib, limit // MIB),
    )


def cpu_slots(proc: Path, cgroup: Path) -> int:
    """Cores that may run at once: the affinity mask cut by the CPU quota, at least 1."""
    cores = len(os.sched_getaffinity(0))
    quota = _cpu_quota(proc, cgroup)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def memory_limit_bytes(proc: Path, cgroup: Path) -> int | None:
    """The smallest memory limit on the way from this process's cgroup to the root. None when nothing limits it."""
    limits = [
        value
        for folder in _cgroup_folders(proc, cgroup, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (value := _number(folder / name)) is not None and value < _UNLIMITED_V1
    ]
    return min(limits, default=None)


def memory_used_bytes(proc: Path, cgroup: Path) -> int | None:
    """What the limiting cgroup has charged, without the page cache that it would give back. None without a limit."""
    versions = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
    for folder in _cgroup_folders(proc, cgroup, "memory"):
        for limit_name, used_name in versions:
            limit, used = _number(folder / limit_name), _number(folder / used_name)
            if limit is not None and limit < _UNLIMITED_V1 and used is not None:
                return max(0, used - _inactive_file_bytes(folder))
    return None


def memory_info(proc: Path = Path("/proc")) -> dict[str, int]:
    """/proc/meminfo in KiB."""
    lines = (proc / "meminfo").read_text(encoding="ascii").splitlines()
    return {key: int(rest.split()[0]) for key, _, rest in (line.partition(":") for line in lines)}


def _cpu_quota(proc: Path, cgroup: Path) -> float | None:
    quotas: list[float] = []
    for folder in _cgroup_folders(proc, cgroup, "cpu"):
        parts = _words(folder / "cpu.max")
        if len(parts) == 2 and parts[0].isdigit():
            quotas.append(int(parts[0]) / int(parts[1]))
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota is not None and quota > 0 and period:
            quotas.append(quota / period)
    return min(quotas, default=None)


def _cgroup_folders(proc: Path, cgroup: Path, controller: str) -> list[Path]:
    """Folders that limit this process, innermost first: v2's own, or v1's for one controller."""
    folders: list[Path] = []
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = cgroup / controller if controllers else cgroup
        inner = base / path.lstrip("/")
        # A container sees its own cgroup as the root of the mount, while the path still names the host's.
        chain = [inner, *(p for p in inner.parents if p == base or base in p.parents)]
        folders.extend(folder for folder in chain if folder.is_dir())
    return folders


def _inactive_file_bytes(folder: Path) -> int:
    for line in _lines(folder / "memory.stat"):
        key, _, value = line.partition(" ")
        if key in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0


def _number(path: Path) -> int | None:
    words = _words(path)
    try:
        return int(words[0]) if words else None
    except ValueError:  # v2 writes "max"
        return None


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
