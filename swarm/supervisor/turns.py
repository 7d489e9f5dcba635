"""Long turns on a core, for a training on the CPU beside another one.

Two trials that share a core change places every 3 ms, and each then finds the other's data in the caches: a step took
15 to 20 % more CPU time, and the budget counts CPU time. With turns of 100 ms it takes a few per cent more
(`benchmarks/fairness.py`). A trial is in no hurry within a second; what is, such as the orchestrator, has shorter turns
and comes first. Set before the sandbox closes: a candidate may not change how it is scheduled.
"""

import ctypes
import os
import struct

TURN_S = 0.1  # the longest that Linux allows

_SYSCALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}  # sched_setattr, sched_getattr
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")  # struct sched_attr, version 0: size, policy, flags, nice, priority, times


def take_long_turns() -> None:
    """For this thread and all that it starts from now on. A kernel before 6.12, or one that refuses, changes none."""
    attributes = _attributes()
    if attributes is None:
        return
    size, policy, flags, nice, priority, _, deadline, period = attributes
    turn = round(TURN_S * 1e9)
    _system_call(0, _ATTRIBUTES.pack(size, policy, flags, nice, priority, turn, deadline, period), 0)


def turn_s() -> float | None:
    """The length of this thread's turns in seconds; None where the kernel does not tell."""
    attributes = _attributes()
    return attributes[5] / 1e9 or None if attributes is not None else None


def _attributes() -> tuple[int, ...] | None:
    buffer = ctypes.create_string_buffer(_ATTRIBUTES.size)
    return _ATTRIBUTES.unpack(buffer.raw) if _system_call(1, buffer, _ATTRIBUTES.size, 0) else None


def _system_call(which: int, attributes: object, *more: int) -> bool:
    numbers = _SYSCALLS.get(os.uname().machine)
    return numbers is not None and ctypes.CDLL(None).syscall(numbers[which], 0, attributes, *more) == 0
