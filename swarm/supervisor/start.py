"""Starts a phase: the fork, and what the new process does before any other code runs in it."""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from swarm.failpoints import failpoint
from swarm.sandbox.libc import PR_SET_DUMPABLE, PR_SET_PDEATHSIG, prctl
from swarm.supervisor.channel import Channel, wait_for_go
from swarm.supervisor.counter import CpuCounter
from swarm.supervisor.environment import INTERPRETER_FLAGS, phase_environment
from swarm.supervisor.spec import PhaseSpec, TrialSpec
from swarm.supervisor.tree import WAKE_SIGNALS
from swarm.trial.contract import ExitCode

RunPhase = Callable[[TrialSpec, PhaseSpec, int, bool], NoReturn]
"""Applies limits and sandbox, reports on the descriptor, runs the phase module (`swarm.supervisor.child.run_phase`).
The last argument: whether the CPU time of all that it starts is counted."""


class _Output(Protocol):
    def fileno(self) -> int: ...


@dataclass(frozen=True)
class Started:
    """A phase's first process, its channel, and what counts its CPU time (None where nothing may)."""

    pid: int
    channel: Channel
    counter: CpuCounter | None


def start_phase(
    spec: TrialSpec,
    phase: PhaseSpec,
    output: _Output,
    lease_fd: int | None,
    run_phase: RunPhase | None,
    cores: frozenset[int],
) -> Started:
    """Forks the phase's first process. With `run_phase` (a zygote's fork) it goes on in this image; without, it
    becomes a fresh interpreter. Must be called from the main thread: PDEATHSIG follows the thread that forked."""
    channel, theirs = Channel.pair()
    supervisor = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    failpoint("phase.before_fork")
    pid = os.fork()
    if pid == 0:
        _become_phase(spec, phase, output.fileno(), lease_fd, theirs, supervisor, run_phase, cores)
    os.close(theirs)
    with spec.trial_folder.sessions.open("a") as sessions:  # the child opens a session with its own number
        sessions.write(f"{pid}\n")
    failpoint("phase.after_fork")
    counter = CpuCounter.of(pid) if channel.wait_until_up() else None
    channel.let_go(counted=counter is not None)
    return Started(pid, channel, counter)


def _become_phase(
    spec: TrialSpec,
    phase: PhaseSpec,
    output_fd: int,
    lease_fd: int | None,
    report_fd: int,
    supervisor: int,
    run_phase: RunPhase | None,
    cores: frozenset[int],
) -> NoReturn:
    """In the child. Never returns into the supervisor's code, whatever goes wrong."""
    try:
        _leave_supervisor(supervisor)
        if cores:
            os.sched_setaffinity(0, cores)
        _redirect(spec.trial_folder.input, output_fd)
        kept = {report_fd} | ({lease_fd} if lease_fd is not None and phase.holds_lease else set())
        close_all_but(kept)
        for descriptor in kept:
            os.set_inheritable(descriptor, True)
        os.umask(0o077)
        os.chdir(spec.trial_folder.private if phase.trusted else spec.trial_folder.scratch)
        environment = phase_environment(spec, phase, os.environ)
        counted = wait_for_go(report_fd)
        if run_phase is None:
            _exec_child(spec, phase, report_fd, environment, counted=counted)
        os.environ.clear()
        os.environ.update(environment)
        run_phase(spec, phase, report_fd, counted)
    except OSError as error:
        os.write(2, f"the phase {phase.name} could not be set up: {error}\n".encode())
    finally:
        os._exit(ExitCode.SETUP_FAILED)


def _leave_supervisor(supervisor: int) -> None:
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(PR_SET_DUMPABLE, 1)  # the supervisor is not; its phases are, or they could not read their own /proc/self
    if os.getppid() != supervisor:  # it died before PDEATHSIG was set
        os._exit(ExitCode.SETUP_FAILED)
    for number in WAKE_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WAKE_SIGNALS)


def _redirect(input_path: Path, output_fd: int) -> None:
    os.dup2(os.open(input_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), 0)
    os.dup2(output_fd, 1)
    os.dup2(output_fd, 2)


def close_all_but(kept: set[int]) -> None:
    """Closes every descriptor above stderr that is not in `kept`."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        if (descriptor := int(entry.name)) > 2 and descriptor not in kept:
            with suppress(OSError):  # the listing's own descriptor is in it
                os.close(descriptor)


def _exec_child(
    spec: TrialSpec, phase: PhaseSpec, report_fd: int, environment: dict[str, str], *, counted: bool
) -> NoReturn:
    arguments = [str(spec.trial_folder.spec), phase.name, str(report_fd), "counted" if counted else "uncounted"]
    command = [sys.executable, *INTERPRETER_FLAGS, "-m", "swarm.supervisor.child", *arguments]
    os.execve(sys.executable, command, environment)
