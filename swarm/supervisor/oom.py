"""Did the kernel's out-of-memory killer take a process? Evidence from its counters, and from the process's size."""

from pathlib import Path

_MIB = 1024 * 1024
_MOST = 0.5


def count_kills() -> int:
    """Out-of-memory kills so far, as far as this process may see them: those of its control group, else those of the
    whole machine. Compare two readings; a rise between them may still have been somebody else's process."""
    for path, key in (
        (_group_file("memory.events", "0::", ""), "oom_kill"),
        (_group_file("memory.oom_control", ":memory:", "memory"), "oom_kill"),
        (Path("/proc/vmstat"), "oom_kill"),
    ):
        if (count := _read_count(path, key)) is not None:
            return count
    return 0


def is_most_of_memory(rss_mib: float) -> bool:
    """Whether one process held more than half of the RAM that the machine or the control group has."""
    limits = [
        _read_limit(_group_file("memory.max", "0::", "")),
        _read_limit(_group_file("memory.limit_in_bytes", ":memory:", "memory")),
        _machine_bytes(),
    ]
    known = [limit for limit in limits if limit is not None]
    return bool(known) and rss_mib * _MIB > _MOST * min(known)


def _group_file(name: str, marker: str, controller: str) -> Path:
    """The file of this process's own control group; inside a container the group's root is often mounted directly."""
    root = Path("/sys/fs/cgroup") / controller
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return root / name
    for line in lines:
        if marker in line:
            inside = root / line.rpartition(":")[2].lstrip("/") / name
            return inside if inside.exists() else root / name
    return root / name


def _read_count(path: Path, key: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    pairs = (line.split() for line in lines)
    return next((int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == key), None)


def _read_limit(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _machine_bytes() -> int | None:
    total_kib = _read_count_kib(Path("/proc/meminfo"), "MemTotal:")
    return total_kib * 1024 if total_kib is not None else None


def _read_count_kib(path: Path, key: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(key)), None)
