"""The worker's side: start a trial's supervisor, find it again, ask it to stop, clean up after a dead one."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from swarm import sandbox
from swarm.errors import TrialError, TrialLost
from swarm.failpoints import failpoint
from swarm.sandbox.ladder import require
from swarm.supervisor import proc
from swarm.supervisor.environment import INTERPRETER_FLAGS, supervisor_environment
from swarm.supervisor.run import Identity
from swarm.supervisor.spec import TrialResult, TrialSpec
from swarm.supervisor.tree import now
from swarm.supervisor.zygote import ask
from swarm.trial.contract import FOLDER_VARIABLE
from swarm.trial.files import write_whole
from swarm.trial.folder import TrialFolder

_START_LIMIT_S = 30.0
_KILL_LIMIT_S = 30.0
_QUIET_SCANS = 2
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Running:
    """A trial under its own supervisor, which goes on when this process dies; `attach` finds it again."""

    folder: Path
    identity: Identity | None
    _child: int | None = field(default=None, repr=False)
    """Its pid while it is our own child and not yet waited for."""

    @property
    def pid(self) -> int | None:
        """The supervisor's; None for a trial that was over when we attached."""
        return self.identity.pid if self.identity is not None else None

    def poll(self) -> TrialResult | None:
        """The result; None while it runs. Raises TrialLost when the supervisor died without leaving one: call
        `kill_leftovers(folder)` and account the trial as abandoned."""
        alive = self._is_alive()
        result = _read_result(self.folder)
        if result is None and not alive:
            raise TrialLost(
                f"the supervisor of {self.folder.name} (pid {self.pid}) died without a result. "
                f"{_last_words(self.folder)} Its processes may live on until kill_leftovers({str(self.folder)!r})."
            )
        return None if alive else result

    def stop(self, reason: str) -> None:
        """Asks the supervisor to kill its tree and to record the ending "stopped". Returns at once; then `poll`."""
        if self.identity is None or not self._is_alive():
            return
        failpoint("stop.before_reason")
        write_whole(TrialFolder(self.folder).stop_reason, reason, durable=True)
        failpoint("stop.after_reason")
        with suppress(ProcessLookupError):
            os.kill(self.identity.pid, signal.SIGTERM)

    def _is_alive(self) -> bool:
        if self._child is not None and _is_reaped(self._child):
            self._child = None
        return self.identity is not None and _lives(self.identity)


def launch(
    spec: TrialSpec, lease_fd: int | None, *, socket: Path | None = None, secrets: Mapping[str, str] | None = None
) -> Running:
    """Starts the supervisor of a trial in a folder that no trial ran in before; returns once it is findable.

    `lease_fd` stays open here and is passed on; close your own copy when the trial is to be its only holder. With the
    `socket` of a zygote the trial starts in a fork of it; if that is gone or stale, in a fresh interpreter, with the
    same results. `secrets`: variables that a phase may ask for by name although they have left the environment; no
    zygote has them, so such a trial starts in a fresh interpreter. Raises TrialError, and SandboxError when `strict`
    cannot be had on this machine.
    """
    folder = Path(spec.folder)
    files = spec.trial_folder
    if not folder.is_absolute() or not folder.is_dir():
        raise TrialError(f"the trial folder {folder} must be an existing folder, given by its absolute path.")
    if files.supervisor.exists():
        raise TrialError(f"a trial was started in {folder} before; a repetition needs a folder of its own.")
    if spec.sandbox == "strict":
        require(sandbox.probe())
    failpoint("launch.before_spec")
    write_whole(files.spec, spec.to_json(), durable=True)
    failpoint("launch.after_spec")
    files.logs.mkdir(mode=0o700, exist_ok=True)
    asks = any(phase.environment for phase in spec.phases)
    if socket is not None and not asks and ask(socket, files.spec, lease_fd):
        return _wait_for_identity(folder, None)
    return _wait_for_identity(folder, _spawn(spec, lease_fd, {**os.environ, **(secrets or {})}))


def attach(folder: Path) -> Running | None:
    """The trial in this folder, running or over; None when it has no live supervisor and no result."""
    identity = _read_identity(folder)
    if identity is not None and _lives(identity):
        return Running(folder, identity)
    return Running(folder, None) if TrialFolder(folder).result.exists() else None


def kill_leftovers(folder: Path) -> list[int]:
    """Kills every process of this trial, a live supervisor included, and returns their pids.

    Found by the marker in their environment, by the sessions of the supervisor and its phases, and by files they hold
    open for writing in the folder (their standard input is one; somebody's `tail -f` is not). A process that rid
    itself of all three is not found; it also took a killed supervisor, and no namespaces, for it to live on. Raises
    TrialError when some do not die within 30 s.
    """
    folder = folder.resolve()
    killed: set[int] = set()
    quiet, deadline = 0, now() + _KILL_LIMIT_S
    while quiet < _QUIET_SCANS:
        found = [process for process in _processes_of(folder) if not proc.is_zombie(process.pid)]
        quiet = 0 if found else quiet + 1
        for process in found:
            killed.add(process.pid)
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        if found and now() > deadline:
            pids = [process.pid for process in found]
            raise TrialError(f"processes {pids} of {folder.name} did not die within {_KILL_LIMIT_S:.0f} s of SIGKILL.")
        time.sleep(0.01)
    return sorted(killed)


def _spawn(spec: TrialSpec, lease_fd: int | None, parent: Mapping[str, str]) -> int:
    """The supervisor as a fresh interpreter in its own session. Safe in a process with threads."""
    command = [sys.executable, *INTERPRETER_FLAGS, "-m", "swarm.supervisor", str(spec.trial_folder.spec)]
    log = str(spec.trial_folder.supervisor_log)
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    if lease_fd is not None:
        actions.append((os.POSIX_SPAWN_DUP2, lease_fd, lease_fd))  # onto itself: inherited from here on
        command += ["--lease-fd", str(lease_fd)]
    environment = supervisor_environment(parent, spec)
    failpoint("launch.before_spawn")
    child = os.posix_spawn(sys.executable, command, environment, file_actions=actions, setsid=True)
    failpoint("launch.after_spawn")
    return child


def _wait_for_identity(folder: Path, child: int | None) -> Running:
    """Until T/supervisor.json is there, so that from now on somebody else can find the trial too."""
    deadline = now() + _START_LIMIT_S
    while (identity := _read_identity(folder)) is None:
        if now() > deadline or (child is not None and _is_reaped(child)):
            kill_leftovers(folder)
            raise TrialError(f"the supervisor of {folder.name} did not start. {_last_words(folder)}")
        time.sleep(0.002)
    return Running(folder, identity, child)


def _is_reaped(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG)[0] == child
    except ChildProcessError:
        return True


def _lives(identity: Identity) -> bool:
    return identity.boot_id == proc.boot_id() and proc.is_alive(identity.pid, identity.starttime)


def _read_identity(folder: Path) -> Identity | None:
    try:
        values: Mapping[str, object] = json.loads(TrialFolder(folder).supervisor.read_text())
        return Identity(**values)  # type: ignore[arg-type]
    except (OSError, ValueError, TypeError):
        return None


def _read_result(folder: Path) -> TrialResult | None:
    try:
        return TrialResult.from_json(TrialFolder(folder).result.read_text())
    except FileNotFoundError:
        return None


def _last_words(folder: Path) -> str:
    line = TrialFolder(folder).log_tail("supervisor", lines=1, limit=300)
    return f"It said: {line}" if line else ""


def _processes_of(folder: Path) -> Iterator[proc.Process]:
    marker = os.fsencode(str(folder))
    identity, sessions = _read_identity(folder), _read_sessions(folder)
    for process in proc.every():
        if process.pid != os.getpid() and (
            proc.environ(process.pid).get(FOLDER_VARIABLE.encode()) == marker
            or (process.session in sessions and identity is not None and _was_started_during(process, identity))
            or any(Path(path).is_relative_to(folder) for path in proc.written_paths(process.pid))
        ):
            yield process


def _read_sessions(folder: Path) -> set[int]:
    try:
        return {int(line) for line in TrialFolder(folder).sessions.read_text().split()}
    except (OSError, ValueError):
        return set()


def _was_started_during(process: proc.Process, identity: Identity) -> bool:
    """Session numbers are used again, so only a process that was started while the trial could run counts."""
    if identity.boot_id != proc.boot_id():
        return False
    return identity.starttime <= process.starttime <= identity.deadline * _TICKS_PER_S
