"""A worker's process as the orchestrator sees it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from swarm.orchestrator.control import ORCHESTRATOR_VARIABLE
from swarm.study.settings import RunSettings
from swarm.supervisor.proc import descendants

RESTARTS_ALLOWED = 5
RESTART_WINDOW_S = 600.0
RESTART_PAUSE_S = 1.0
GIVEN_UP_IN_A_ROW = 5  # trials of one worker, after which their endings are no progress


class WorkerProcess(Protocol):
    """What the orchestrator asks of a worker's process; `subprocess.Popen` answers it."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def kill(self) -> None: ...
    def wait(self) -> int: ...


class _Process(subprocess.Popen[bytes]):
    def kill(self) -> None:
        """With all its descendants: a git that hangs or an agent's command would live on without it."""
        below = descendants(self.pid)
        super().kill()
        for process in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def start_worker(settings: RunSettings, agent_id: str) -> WorkerProcess:
    """A worker in a session of its own, so that Ctrl-C does not reach it. Its output is added to its log."""
    layout, study_id = settings.layout, settings.study_id
    command = [sys.executable, "-P", "-m", "workers", "--settings", str(layout.settings(study_id))]
    with layout.worker_log(study_id, agent_id).open("ab") as output:
        return _Process(
            [*command, "--agent-id", agent_id],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=layout.root,
            env={**os.environ, ORCHESTRATOR_VARIABLE: str(os.getpid())},
            start_new_session=True,
        )


@dataclass
class WorkerSlot:
    """One name, and the processes that have it one after the other."""

    agent_id: str
    process: WorkerProcess | None = None
    done: bool = False
    given_up: bool = False
    not_before: float = 0.0
    starts: deque[float] = field(default_factory=deque)
    endings: int = 0  # of trials, by all processes of this name, when the last one was started

    def forgive(self) -> None:
        """Deaths before the last start do not count: since then it has ended trials."""
        while len(self.starts) > 1:
            self.starts.popleft()

    def deaths_in_window(self, now: float) -> int:
        """Forgets those that lie further back, so that a worker may die any number of times in a long night."""
        while len(self.starts) > 1 and now - self.starts[0] > RESTART_WINDOW_S:
            self.starts.popleft()
        return len(self.starts)

    def pause(self, now: float) -> None:
        """No start before a pause, which doubles with each death in the window."""
        self.not_before = now + RESTART_PAUSE_S * 2 ** min(len(self.starts) - 1, 5)


def call_back(workers: Iterable[WorkerSlot]) -> None:
    """Those that had nothing left to do. It is no restart: nothing of theirs was lost."""
    for worker in workers:
        if worker.done and not worker.given_up:
            worker.done = False
            worker.starts.clear()


def last_line(log: Path) -> str:
    """The end of a process's log, for a message to a person."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return "it left no log"
    return lines[-1][:600] if lines else "it said nothing"


def exit_text(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
