"""One phase under watch: started, held to its limits, ended whole, and described.

A phase is over when its first process has ended or a limit is reached. Either way nothing that it started survives.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from swarm.sandbox.policy import SandboxReport
from swarm.supervisor import oom
from swarm.supervisor.channel import Channel, Heard
from swarm.supervisor.locks import LockWatch
from swarm.supervisor.logfile import CappedLog
from swarm.supervisor.rungs import RungTaker
from swarm.supervisor.spec import Ending, PhaseResult, PhaseSpec, TrialSpec
from swarm.supervisor.start import RunPhase, start_phase
from swarm.supervisor.tree import Tree, now
from swarm.supervisor.usage import Excess, UsageWatch
from swarm.trial.heartbeat import read_beat

Cut = Literal["walltime", "cpu_limit", "stalled", "stopped"] | Excess

_POLL_S = 0.05
_CPU_POLL_S = 0.5
STALL_FACTOR_BEFORE_FIRST_STEP = 3.0
_LINGER_S = 0.3


@dataclass(frozen=True)
class PhaseOutcome:
    result: PhaseResult
    sandbox: SandboxReport | None
    """What the child reported; None when its set-up failed."""
    immortal: tuple[int, ...] = ()
    """Processes that the kernel did not let die (stuck in a driver); no further phase may run beside them."""


def run_phase(
    spec: TrialSpec,
    phase: PhaseSpec,
    *,
    trial_start: float,
    lease_fd: int | None,
    in_fork: RunPhase | None,
    cores: frozenset[int] = frozenset(),
) -> PhaseOutcome:
    """Runs it to its end, on these cores (on any, where there are none). Times are on the clock of `tree.now`."""
    log = CappedLog(spec.trial_folder.log(phase.name), spec.log_limit_bytes)
    kills_before = oom.count_kills()
    began = now()
    started = start_phase(spec, phase, log, lease_fd, in_fork, cores)
    tree = Tree(started.pid, started.counter)
    try:
        watch = _Watch(spec, phase, tree, log, started.channel, began)
        cut = watch.until_over()
        left = tree.linger(_LINGER_S) if cut is None else 0
        immortal = tree.kill() if cut is None else tree.terminate(spec.term_grace_s)
        watch.look(now())
    finally:
        tree.kill()
    seconds, cpu_s = now() - began, tree.cpu_seconds()
    heard = started.channel.heard
    while log.take():
        pass
    ending, detail = _describe(tree, cut, watch, heard, phase, log, oom.count_kills() - kills_before)
    status = tree.leader_status
    result = PhaseResult(
        name=phase.name,
        started_s=round(began - trial_start, 4),
        seconds=round(seconds, 4),
        cpu_seconds=round(cpu_s, 4),
        peak_rss_mib=round(tree.peak_rss_mib, 1),
        exit_code=os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None,
        signal=os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None,
        ending=ending,
        detail=detail,
        ready_s=round(heard.ready.at - began, 4) if heard.ready else None,
        left_processes=max(left, heard.left or 0),
        gate_held_s=round(watch.gate.held_s, 1),
        counted=started.counter is not None,
        begun=heard.begins,
        own_cpu_s=round(cpu_s - watch.cpu_before, 4),
        own_s=round(now() - watch.began, 4),
        rungs=tuple(watch.rungs.taken),
    )
    log.close()
    started.channel.close()
    if started.counter is not None:
        started.counter.close()
    return PhaseOutcome(result, heard.ready.sandbox if heard.ready else None, tuple(immortal))


class _Watch:
    """The limits of a running phase. `cpu_before` and `began`: what was used, and when the candidate's code began."""

    def __init__(
        self, spec: TrialSpec, phase: PhaseSpec, tree: Tree, log: CappedLog, channel: Channel, began: float
    ) -> None:
        self.cpu_before, self.began = 0.0, began
        self.gate = LockWatch(phase.gate, began)
        self.rungs = RungTaker(spec.trial_folder, phase.rungs)
        self.usage = UsageWatch(phase.write, spec.memory_limit_mib, began)
        self._phase = phase
        self._tree = tree
        self._log = log
        self._channel = channel
        self._deadline = began + phase.walltime_limit_s
        self._beats = _Heartbeat(spec.trial_folder.heartbeat, began)
        self._next_cpu_check = began

    def until_over(self) -> Cut | None:
        """The limit that was reached; None when the phase ended on its own."""
        while self._tree.leader_status is None:
            moment = now()
            self.look(moment)
            if (cut := self._cut(moment)) is not None:
                return cut
            self._tree.wait(0.0 if self._log.take() else min(_POLL_S, self._deadline - moment))
        return None

    def look(self, moment: float) -> None:
        """At what the phase says, and at what it leaves at its rungs."""
        begun = self._channel.heard.begins
        if self._channel.listen().begins and not begun:
            self.cpu_before, self.began = self._tree.cpu_seconds(), moment
            self._channel.say_noted()
        if self._phase.rungs:
            self.rungs.look(self._tree.cpu_seconds() - self.cpu_before, moment - self.began)

    def _cut(self, moment: float) -> Cut | None:
        self.gate.look(moment)
        if self._tree.stop_asked:
            return "stopped"
        if moment >= self._deadline:
            return "walltime"
        if self._phase.cpu_limit_s is not None and moment >= self._next_cpu_check:
            self._next_cpu_check = moment + min(_CPU_POLL_S, self._phase.cpu_limit_s / 4)
            if self._tree.cpu_seconds() > self._phase.cpu_limit_s:
                return "cpu_limit"
        if self._phase.stall_limit_s is not None and self._beats.pause_s(moment) > self._phase.stall_limit_s:
            return "stalled"
        return None if self._phase.trusted else self.usage.look(moment)


class _Heartbeat:
    """How long the training has not moved on. The file is the candidate's: any content, and no trust in its kind."""

    def __init__(self, path: Path, began: float) -> None:
        self._path = path
        self._last: float | None = None
        self._has_stepped = False
        self._moved_at = began

    def pause_s(self, moment: float) -> float:
        """Seconds since the beat last moved on; a third of that until the first step is done, for it may compile."""
        beat = read_beat(self._path)
        if beat is not None and beat.at_s != self._last:
            self._last = beat.at_s
            self._has_stepped = self._has_stepped or beat.step > 0
            self._moved_at = moment
        pause = moment - self._moved_at
        return pause if self._has_stepped else pause / STALL_FACTOR_BEFORE_FIRST_STEP


def _describe(
    tree: Tree, cut: Cut | None, watch: _Watch, heard: Heard, phase: PhaseSpec, log: CappedLog, oom_kills: int
) -> tuple[Ending, str]:
    if cut is not None:
        return cut, _reason(cut, phase, watch)
    status = tree.leader_status
    assert status is not None, "a phase that was not cut has ended"
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        killed_for_memory = code == -9 and (oom_kills > 0 or oom.is_most_of_memory(tree.peak_rss_mib))
        if killed_for_memory:
            return "host_oom", f"killed by the kernel for memory at {tree.peak_rss_mib:.0f} MiB of RAM"
        return "signal", f"killed by signal {-code}. {log.last_line()}".strip()
    if heard.ready is None and code != 0:
        return "exit", f"set-up failed: {log.last_line()}"
    if code == 0:
        return "ok", ""
    return "exit", f"exit code {code}. {log.last_line()}".strip()


def _reason(cut: Cut, phase: PhaseSpec, watch: _Watch) -> str:
    limits: dict[Cut, str] = {
        "walltime": f"walltime limit of {phase.walltime_limit_s:g} s reached",
        "cpu_limit": f"the tree used more CPU time than its limit of {phase.cpu_limit_s} s",
        "stalled": f"no heartbeat for longer than the limit of {phase.stall_limit_s} s",
        "stopped": "stopped from outside",
    }
    return limits.get(cut) or f"killed for what it took of the machine: {watch.usage.detail}"
