"""The process tree of one phase: counted, waited for and killed whole.

The supervisor is a child subreaper, so whatever its children leave behind becomes its child. When it has no child left
(`ECHILD`), it therefore has no descendant left: this, and not a list of pids, is how a tree is known to be dead.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from swarm.supervisor import proc
from swarm.supervisor.counter import CpuCounter

Now = Callable[[], float]

WAKE_SIGNALS = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGIO})
STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
_KILL_LIMIT_S = 30.0
_MIB = 1024 * 1024


def now() -> float:
    """Seconds on the clock of all deadlines: it never goes back and does not stop while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass
class Tree:
    """Descendants of this process. Call `block_signals` once before the first fork.

    `leader` is the phase's first process; its status is kept when it ends, those of the others are only counted.
    """

    leader: int
    counter: CpuCounter | None = None
    leader_status: int | None = None
    stop_asked: bool = False
    kill_sent: bool = False
    peak_rss_mib: float = 0.0
    _reaped_cpu_s: float = 0.0
    _most_cpu_s: float = 0.0
    _alive: bool = field(default=True, repr=False)

    def wait(self, timeout_s: float) -> None:
        """Returns after `timeout_s` or when something happened: a child ended or spoke, or a stop was asked for."""
        woken = signal.sigtimedwait(WAKE_SIGNALS, max(timeout_s, 0.0))
        if woken is not None and woken.si_signo in STOP_SIGNALS:
            self.stop_asked = True
        self._reap()

    def cpu_seconds(self) -> float:
        """CPU time of the ended and the living, by the counter. Without one a process that nobody waited for is lost
        to the kernel's accounts, so the largest sum ever seen is given: never too much, at worst too little."""
        if self.counter is not None:
            return self.counter.seconds()
        alive = sum(process.cpu_seconds for process in proc.descendants(os.getpid()))
        self._most_cpu_s = max(self._most_cpu_s, self._reaped_cpu_s + alive)
        return self._most_cpu_s

    def linger(self, grace_s: float) -> int:
        """Waits for what the leader left behind; helpers that watch their parent end by themselves. Returns how many
        processes live on after `grace_s`."""
        self._reap()
        deadline = now() + grace_s
        while self._alive and (left := deadline - now()) > 0:
            self.wait(left)
        return sum(not proc.is_zombie(process.pid) for process in proc.descendants(os.getpid())) if self._alive else 0

    def terminate(self, grace_s: float) -> list[int]:
        """SIGTERM to the leader's group, `grace_s` for it to end, then SIGKILL to all. Returns what did not die."""
        with suppress(ProcessLookupError):
            os.killpg(self.leader, signal.SIGTERM)
            os.killpg(self.leader, signal.SIGCONT)  # a stopped process takes its SIGTERM only once it goes on
        deadline = now() + grace_s
        while self._alive and (left := deadline - now()) > 0:
            self.wait(min(left, 0.05))
        return self.kill()

    def kill(self) -> list[int]:
        """SIGKILL until no descendant is left. Returns the pids of those that the kernel does not let die."""
        deadline = now() + _KILL_LIMIT_S
        self._reap()
        while self._alive:
            if now() > deadline:
                return [process.pid for process in proc.descendants(os.getpid())]
            self._kill_once()
            self.wait(0.01)
        return []

    def _kill_once(self) -> None:
        """Whole groups first: the kernel signals a group in one step, which a fork storm cannot outrun."""
        self.kill_sent = self.kill_sent or self.leader_status is None
        found = proc.descendants(os.getpid())
        for group in {process.pgrp for process in found} - {os.getpgrp(), 0}:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        for process in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self._alive = False
                return
            if pid == 0:
                return
            self._reaped_cpu_s += usage.ru_utime + usage.ru_stime
            self.peak_rss_mib = max(self.peak_rss_mib, usage.ru_maxrss * 1024 / _MIB)
            if pid == self.leader:
                self.leader_status = status


def block_signals() -> None:
    """From here on the wake signals are only taken by `Tree.wait`; no handler ever runs between two statements."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WAKE_SIGNALS)
