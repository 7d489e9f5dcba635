"""The machine's own memory as a device, so that the same admission code serves a machine without a GPU."""

import os
from pathlib import Path

from swarm.gpu.host import MIB, host_limits, memory_info, memory_limit_bytes, memory_used_bytes
from swarm.gpu.reading import Attribution, DeviceKind, DeviceReading, ProcessUse


class CpuProbe:
    """RAM within the cgroup's limit. Attribution is exact: private and shared-memory pages of this user's processes.

    File-backed pages (a memory-mapped dataset) are not counted: the kernel takes them back when it needs room.
    """

    def __init__(self, *, proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc = proc
        self._cgroup = cgroup

    @property
    def kind(self) -> DeviceKind:
        return "cpu"

    @property
    def name(self) -> str:
        limits = host_limits(proc=self._proc, cgroup=self._cgroup)
        return f"CPU, {limits.cpu_slots} cores, {limits.ram_mib} MiB"

    def read(self) -> tuple[DeviceReading, ...]:
        info = memory_info(self._proc)
        total, free = info["MemTotal"] // 1024, info["MemAvailable"] // 1024
        limit, used = (f(self._proc, self._cgroup) for f in (memory_limit_bytes, memory_used_bytes))
        if limit is not None and limit // MIB < total:
            total = limit // MIB
            free = min(free, max(0, total - (used or 0) // MIB))
        return (
            DeviceReading(
                uuid="CPU-0",
                name=self.name,
                total_mib=total,
                free_mib=free,
                reserved_mib=0,
                attribution=Attribution.MATCHED,
                processes=self._processes(),
            ),
        )

    def _processes(self) -> tuple[ProcessUse, ...]:
        user = os.getuid()
        found = []
        for entry in self._proc.iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if entry.stat().st_uid == user and (used := _resident_kib(entry)):
                    found.append(ProcessUse(int(entry.name), used // 1024))
            except OSError:  # it ended while we looked
                continue
        return tuple(sorted(found, key=lambda use: use.pid))


def _resident_kib(process: Path) -> int:
    total = 0
    for line in (process / "status").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(("RssAnon:", "RssShmem:")):
            total += int(line.split()[1])
    return total
