"""The gate between co-tenants of one GPU: kernel locks on two files, so that a dead process never blocks a living one.

    a shared lock on `path`           held by everybody who is running steps, given up while parked
    an exclusive lock on `path.turn`  held by the one who is measuring; the others see it and park

The files are opened for reading only, and nothing is ever written to them: a candidate can lock them, but it can
neither damage them under its neighbours nor leave anything in them for a later trial. A lock is given up by closing its
descriptor, because inside the sandbox unlocking does nothing (`swarm.sandbox.calls`).

Who holds the gate for longer than is decent costs its neighbours a bounded share of their time, and no more.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from swarm.harness.solo import Device

CLOSE_LIMIT_S = 10.0
PARK_LIMIT_S = 30.0
PARK_SHARE = 0.25
"""All waiting together: at most PARK_LIMIT_S and this share of the time since the gate was opened."""
POLL_S = 0.002


class FileGate:
    """A `swarm.harness.solo.Gate` for processes on one machine; `path` and `path.turn` exist.

    It counts as running from its first step boundary on. A process that was forked while a lock was held keeps it until
    it ends or closes the descriptor.
    """

    def __init__(
        self, path: Path, *, sleep: Callable[[float], None] = time.sleep, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.waited_s = 0.0
        self._running = _Lock(path)
        self._turn = _Lock(path.with_name(f"{path.name}.turn"))
        self._sleep, self._now = sleep, now
        self._began_s = now()

    def close(self) -> bool:
        """Asks for the device. True once every other holder has parked; False when they did not in time."""
        self._running.release()  # somebody else may be waiting for us
        if not self._wait_until(self._turn.take, PARK_LIMIT_S):
            self._wait_until(self._running.share, PARK_LIMIT_S)
            return False
        return self._wait_until(self._running.take, CLOSE_LIMIT_S)

    def open(self) -> None:
        self._running.release()
        self._turn.release()
        self._wait_until(self._running.share, PARK_LIMIT_S)

    def step_boundary(self, device: Device) -> None:
        """Returns at once unless somebody wants to be alone; then parks until the turn is free again."""
        if self._running.held:
            if self._patience_s() <= 0 or self._turn.is_free():
                return
            device.synchronize()
            self._running.release()
        self._wait_until(self._turn.is_free, PARK_LIMIT_S)
        self._wait_until(self._running.share, PARK_LIMIT_S)

    def _patience_s(self) -> float:
        return PARK_LIMIT_S + PARK_SHARE * (self._now() - self._began_s) - self.waited_s

    def _wait_until(self, succeeds: Callable[[], bool], limit_s: float) -> bool:
        """Tries at least once. The time goes off this process's patience."""
        began_s = self._now()
        deadline = began_s + min(limit_s, self._patience_s())
        while not (done := succeeds()) and self._now() < deadline:
            self._sleep(POLL_S)
        self.waited_s += self._now() - began_s
        return done


class _Lock:
    """One kernel lock on one file, held through a descriptor of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def share(self) -> bool:
        """Whether we hold it now, beside others who share it."""
        return self._lock(fcntl.LOCK_SH)

    def take(self) -> bool:
        """Whether we hold it now, alone."""
        return self._lock(fcntl.LOCK_EX)

    def is_free(self) -> bool:
        """Whether nobody holds it alone."""
        if free := self.share():
            self.release()
        return free

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _lock(self, kind: int) -> bool:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self.release()
        self._descriptor = descriptor
        return True
