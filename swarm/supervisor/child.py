"""The first process of a phase: limits, sandbox, report, then the phase module as `__main__`.

    python -P -s -B -m swarm.supervisor.child SPEC.json PHASE REPORT_FD

Everything that must be imported from outside the sandbox's readable paths is imported before it closes.
"""

import importlib
import os
import resource
import runpy
import sys
import tempfile
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from swarm import sandbox
from swarm.errors import SwarmError
from swarm.sandbox.namespaces import SHORT_NAME
from swarm.sandbox.policy import SandboxReport, candidate_policy
from swarm.supervisor import proc
from swarm.supervisor.channel import Ready, say_left, say_ready
from swarm.supervisor.spec import PhaseSpec, TrialSpec
from swarm.supervisor.tree import now
from swarm.supervisor.turns import take_long_turns
from swarm.supervisor.usage import MOST_THREADS
from swarm.trial.contract import CHANNEL_VARIABLE, ExitCode

_FILE_SIZE_LIMIT = 2 * 1024**3
_OPEN_FILES = 1024
_LOCKED_BYTES = 64 * 1024
_EXTRA_PROCESSES = 1024
_MIB = 1024 * 1024
_OOM_SCORE = b"500"  # the kernel takes a trial before it takes a worker or the supervisor


def main(arguments: list[str]) -> NoReturn:
    spec_path, phase_name, report_fd, counted = arguments
    spec = TrialSpec.from_json(Path(spec_path).read_text())
    phase = next(phase for phase in spec.phases if phase.name == phase_name)
    run_phase(spec, phase, int(report_fd), counted == "counted")


def run_phase(spec: TrialSpec, phase: PhaseSpec, report_fd: int, counted: bool) -> NoReturn:
    """Ends the process: with the phase's own exit code, or ExitCode.SETUP_FAILED before its first instruction."""
    try:
        os.set_inheritable(report_fd, False)
        _limit(spec, gpu=phase.gpu)
        _import_parents(spec, phase)
        report = _enter_sandbox(spec, phase, report_fd, counted=counted)
        say_ready(report_fd, Ready(report, now()))
        os.environ[CHANNEL_VARIABLE] = str(report_fd)
    except (OSError, ImportError, ValueError, SwarmError) as error:
        os.write(2, f"the phase {phase.name} could not be set up: {error}\n".encode())
        os._exit(ExitCode.SETUP_FAILED)
    _run_module(phase.module)


def _limit(spec: TrialSpec, *, gpu: bool) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, _FILE_SIZE_LIMIT)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if not gpu:  # CUDA pins what it copies from, and there is no other limit on a GPU's host memory either
        _lower(resource.RLIMIT_MEMLOCK, _LOCKED_BYTES)
    for which in (resource.RLIMIT_MSGQUEUE, resource.RLIMIT_RTPRIO, resource.RLIMIT_NICE):
        _lower(which, 0)
    if os.getuid() != 0:  # root is exempt; counted per user, it can only bound what comes on top of now
        _lower(resource.RLIMIT_NPROC, _threads_of_user() + _EXTRA_PROCESSES)
    if spec.memory_limit_mib is not None:
        # Not RLIMIT_AS: CUDA reserves more address space than the machine has memory, before its first allocation.
        _lower(resource.RLIMIT_DATA, spec.memory_limit_mib * _MIB)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(_OOM_SCORE)


def _lower(which: int, limit: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(which, (limit, limit))


def _threads_of_user() -> int:
    user = os.getuid()
    total = 0
    for process in proc.every():
        with suppress(OSError):
            if Path(f"/proc/{process.pid}").stat().st_uid == user:
                total += proc.count_threads(process.pid)
    return total


def _import_parents(spec: TrialSpec, phase: PhaseSpec) -> None:
    """The import system must list a package's parent folder to find it, and that folder may be the whole repository,
    which stays closed. The packages above the phase module are therefore found now; their own folders are readable."""
    for entry in reversed(spec.pythonpath):
        if entry not in sys.path:
            sys.path.insert(0, entry)
    package = phase.module.rpartition(".")[0]
    if package:
        importlib.import_module(package)


def _enter_sandbox(spec: TrialSpec, phase: PhaseSpec, report_fd: int, *, counted: bool) -> SandboxReport:
    """An untrusted phase goes on in the sandbox. Its descriptors above `report_fd` are those that it was given."""
    if phase.trusted:
        return SandboxReport(level="none", detail="a trusted phase")
    policy = candidate_policy(
        (*phase.read, str(spec.trial_folder.config)),
        phase.write,
        own=tuple(
            path
            for path in (*phase.read, *phase.write, str(spec.trial_folder.config))
            if Path(path).is_relative_to(spec.folder)
        ),
        temporary=str(spec.trial_folder.scratch),
        gpu=phase.gpu,
        processes=counted or phase.gpu or phase.processes,
    )
    if not phase.gpu:
        take_long_turns()
    report = sandbox.apply(policy, spec.sandbox, folder=spec.folder, report_left=lambda left: say_left(report_fd, left))
    if report.namespaces:
        os.environ["TMPDIR"] = SHORT_NAME
    tempfile.tempdir = None  # a warm process has looked it up before
    if report.other_user or (report.namespaces and os.getuid() != 0):  # counted for this trial alone
        _lower(resource.RLIMIT_NPROC, MOST_THREADS)
    return report


def _run_module(module: str) -> NoReturn:
    """As `python -m MODULE` would, with the same exit codes and the output flushed; exit handlers do not run."""
    sys.argv = [module]
    warnings.filterwarnings("ignore", message=".*found in sys.modules", module="runpy")  # a warm process has it
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        _leave(_exit_code(stop))
    except BaseException:  # noqa: BLE001 - the border of the process: what python itself would print
        traceback.print_exc()
        _leave(1)
    _leave(0)


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code & 0xFF
    sys.stderr.write(f"{stop.code}\n")
    return 1


def _leave(code: int) -> NoReturn:
    """Not `sys.exit`: in a zygote's fork the stack above belongs to the supervisor. Threads are not waited for; the
    supervisor ends what is left."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
