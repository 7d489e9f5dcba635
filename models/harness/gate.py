"""The gate between co-tenants of one GPU: kernel locks on one file, so that a dead process never blocks a living one.

Three things, all in the file `path` and the file beside it:

    a byte       mapped into every co-tenant: 1 while somebody wants to be alone; costs nanoseconds to look at
    a shared lock on `path`          held by everybody who is running steps, given up while parked
    an exclusive lock on `path.turn` held by the one who is measuring
"""

import fcntl
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

from models.harness.solo import Device

CLOSE_LIMIT_S = 10.0
PARK_LIMIT_S = 30.0
POLL_S = 0.002


class FileGate:
    """A `models.harness.solo.Gate` for processes on one machine. All waits end after a bounded time."""

    def __init__(
        self, path: Path, *, sleep: Callable[[float], None] = time.sleep, now: Callable[[], float] = time.monotonic
    ) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._running = os.open(path, flags, 0o600)
        self._turn = os.open(path.with_name(path.name + ".turn"), flags, 0o600)
        if os.fstat(self._running).st_size == 0:
            os.pwrite(self._running, b"\0", 0)
        self._wanted = mmap.mmap(self._running, 1)
        self._sleep, self._now = sleep, now
        self._wait(self._running, fcntl.LOCK_SH, PARK_LIMIT_S)

    def close(self) -> bool:
        """Asks for the device. True once every other holder has parked; False after CLOSE_LIMIT_S without that."""
        fcntl.flock(self._running, fcntl.LOCK_UN)  # somebody else may be waiting for us
        if not self._wait(self._turn, fcntl.LOCK_EX, PARK_LIMIT_S):
            self._wait(self._running, fcntl.LOCK_SH, PARK_LIMIT_S)
            return False
        self._wanted[0] = 1
        return self._wait(self._running, fcntl.LOCK_EX, CLOSE_LIMIT_S)

    def open(self) -> None:
        self._wanted[0] = 0
        fcntl.flock(self._running, fcntl.LOCK_SH)
        fcntl.flock(self._turn, fcntl.LOCK_UN)

    def step_boundary(self, device: Device) -> None:
        """Returns at once unless somebody wants to be alone; then parks until the turn is free again."""
        if not self._wanted[0]:
            return
        device.synchronize()
        fcntl.flock(self._running, fcntl.LOCK_UN)
        if self._wait(self._turn, fcntl.LOCK_SH, PARK_LIMIT_S):
            self._wanted[0] = 0  # nobody has the turn: whoever set the byte has died
            fcntl.flock(self._turn, fcntl.LOCK_UN)
        self._wait(self._running, fcntl.LOCK_SH, PARK_LIMIT_S)

    def _wait(self, descriptor: int, kind: int, limit_s: float) -> bool:
        deadline = self._now() + limit_s
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if self._now() >= deadline:
                    return False
                self._sleep(POLL_S)
