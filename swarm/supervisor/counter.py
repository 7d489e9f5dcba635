"""The CPU time of a phase, counted by the kernel from outside: every process and thread of it, waited for or not.

A software counter (perf_event_open: task clock, inherited) that belongs to the supervisor; nothing inside can stop it.
Linux lets an ordinary user count its own processes at `perf_event_paranoid` 2; most containers refuse the call. Then
there is no counter, and an untrusted phase on a CPU may start no children, whose time nobody would be charged with.
"""

import os
import struct

from swarm.sandbox import calls
from swarm.sandbox.libc import syscall

_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_TYPE_SOFTWARE, _TASK_CLOCK = 1, 1
_INHERIT, _EXCLUDE_KERNEL = 1 << 1, 1 << 5
_CLOSE_ON_EXEC = 8
_NS = 1e9


class CpuCounter:
    """Counts from its making on. `close` it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def of(cls, pid: int) -> "CpuCounter | None":
        """For a process that waits and has no child yet; None where the kernel does not let us count."""
        number = _PERF_EVENT_OPEN.get(calls.machine())
        if number is None:
            return None
        attributes = struct.pack(
            "<IIQQQQQIIQ", _TYPE_SOFTWARE, 64, _TASK_CLOCK, 0, 0, 0, _INHERIT | _EXCLUDE_KERNEL, 0, 0, 0
        )
        try:
            return cls(syscall(number, attributes, pid, -1, -1, _CLOSE_ON_EXEC))
        except OSError:
            return None

    def seconds(self) -> float:
        """CPU seconds of the whole tree so far, kernel time included, as the task clock has it."""
        return float(struct.unpack("<Q", os.read(self._descriptor, 8))[0] / _NS)

    def close(self) -> None:
        os.close(self._descriptor)
