"""Starts the workers of one study, watches them, restarts those that die, and ends the study cleanly.

The orchestrator decides nothing about research: workers read the brain and agree by it. It owns the worktrees, the
worker processes and the study's last line. It never asks anybody anything.

Not promised: that a worker which dies six times within ten minutes is started a seventh time. The study then goes on
with the others and says so.
"""

import contextlib
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from swarm.brain import Brain
from swarm.clock import Clock
from swarm.errors import SwarmError, TrialError, UsageError
from swarm.orchestrator.control import Control, read_control, write_control
from swarm.orchestrator.interrupts import Interrupts
from swarm.orchestrator.settings_file import save_settings
from swarm.records import Note, StudyClosed, WorkerStatus
from swarm.repo import Repo
from swarm.study.settings import Layout, RunSettings
from swarm.supervisor import Zygote
from swarm.trial.contract import code_root

RESTARTS_ALLOWED = 5
RESTART_WINDOW_S = 600.0
RESTART_PAUSE_S = 1.0
STOP_GRACE_S = 30.0
POLL_S = 0.2
PRELOAD = "swarm.harness.preload"


class WorkerProcess(Protocol):
    """What the orchestrator asks of a worker's process; `subprocess.Popen` answers it."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def kill(self) -> None: ...
    def wait(self) -> int: ...


def start_worker(settings: RunSettings, agent_id: str) -> WorkerProcess:
    """A worker in a session of its own, so that Ctrl-C does not reach it. Its output is added to its log."""
    layout, study_id = settings.layout, settings.study_id
    command = [sys.executable, "-P", "-m", "workers", "--settings", str(layout.settings(study_id))]
    with layout.worker_log(study_id, agent_id).open("ab") as output:
        return subprocess.Popen(
            [*command, "--agent-id", agent_id],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=layout.root,
            start_new_session=True,
        )


@dataclass
class _Worker:
    agent_id: str
    process: WorkerProcess | None = None
    done: bool = False
    given_up: bool = False
    not_before: float = 0.0
    starts: deque[float] = field(default_factory=deque)


class Orchestrator:
    """One study on this machine. `run` returns when it has ended or was stopped."""

    def __init__(
        self,
        settings: RunSettings,
        brain: Brain,
        repo: Repo,
        clock: Clock,
        start: Callable[[RunSettings, str], WorkerProcess] = start_worker,
        renew: Callable[[], None] = lambda: None,
    ) -> None:
        """`renew` takes the orchestrator's lock again when its file is gone."""
        self.interrupts = Interrupts(self._ask)
        self._settings = settings
        self._brain = brain
        self._repo = repo
        self._clock = clock
        self._start_process = start
        self._renew = renew
        self._workers = [_Worker(agent_id) for agent_id in settings.proposers]
        self._zygote: Zygote | None = None
        self._last_asked = Control.RUN

    def run(self, tick: Callable[[], None]) -> str:
        """Run until every worker is done. `tick` is called a few times a second to draw. Returns why it ended.

        Raises SwarmError when every worker had to be given up, with the last words of the first one.
        """
        self._ask(Control.RUN)
        with self.interrupts:
            try:
                self._prepare()
                while not all(worker.done for worker in self._workers):
                    self._step()
                    tick()
                    self._clock.sleep(POLL_S)
            finally:
                self._end()
        reason = self._reason()
        self._brain.append(
            StudyClosed(study_id=self._settings.study_id, reason=reason, description=f"study closed: {reason}")
        )
        if all(worker.given_up for worker in self._workers):
            log = self._settings.layout.worker_log(self._settings.study_id, self._workers[0].agent_id)
            raise SwarmError(f"no worker could go on: {last_line(log)}. Its log: {log}")
        return reason

    def _prepare(self) -> None:
        self._repo.heal()
        for worker in self._workers:
            self._repo.add_worktree(worker.agent_id, self._settings.base_commit, self._settings.target_folder)
        if self._settings.start_up == "zygote":
            self._warm_up()

    def _restore_runtime(self) -> None:
        """Somebody has deleted `.swarm/`: make anew what workers and other processes look for in it. Trials that ran
        there run again; weights and transcripts of earlier ones are lost."""
        settings = self._settings
        self._renew()
        if settings.layout.settings(settings.study_id).exists():
            return
        save_settings(settings)
        self._ask(self._last_asked)
        text = f"{settings.layout.runtime} was deleted while the study ran: it was made again, running trials run again"
        self._brain.append(Note(study_id=settings.study_id, topic="runtime", description=text[:300]))

    def _step(self) -> None:
        self._restore_runtime()
        if self._time_is_up() and self._asked() is Control.RUN:
            self._ask(Control.DRAIN)
        for worker in self._workers:
            if not worker.done:
                self._tend(worker)
        if self._zygote is not None and not self._zygote.alive():
            self._warm_up()  # it also ends by itself when the code that it has loaded changes

    def _warm_up(self) -> None:
        """Without a zygote each process of a trial starts an interpreter of its own: slower, with the same results."""
        path = (str(code_root()),)
        try:
            self._zygote = Zygote.start(PRELOAD, zygote_socket(self._settings.layout), pythonpath=path)
        except TrialError as error:
            self._zygote = None
            text = f"trials start cold from here on: {error}"
            self._brain.append(Note(study_id=self._settings.study_id, topic="start-up", description=text[:300]))

    def _tend(self, worker: _Worker) -> None:
        """Start a worker that is not running; notice one that has ended."""
        if worker.process is None:
            if self._clock.monotonic() >= worker.not_before:
                self._start(worker)
            return
        code = worker.process.poll()
        if code is None:
            return
        worker.process = None
        if code == 0 or self.interrupts.at_once:
            worker.done = True
            return
        if code == UsageError.exit_code:  # it will be as wrong the next time
            return self._give_up(worker, "cannot work")
        self._status(worker, "crashed", f"{worker.agent_id} died ({_exit_text(code)})")
        self._schedule_restart(worker)

    def _schedule_restart(self, worker: _Worker) -> None:
        now = self._clock.monotonic()
        while len(worker.starts) > 1 and now - worker.starts[0] > RESTART_WINDOW_S:
            worker.starts.popleft()
        if len(worker.starts) > RESTARTS_ALLOWED:
            self._give_up(worker, f"died {len(worker.starts)} times in {RESTART_WINDOW_S:.0f} s")
            return
        worker.not_before = now + RESTART_PAUSE_S * 2 ** min(len(worker.starts) - 1, 5)

    def _give_up(self, worker: _Worker, why: str) -> None:
        worker.done = worker.given_up = True
        log = self._settings.layout.worker_log(self._settings.study_id, worker.agent_id)
        self._status(worker, "stopped", f"{worker.agent_id} {why}, given up: {last_line(log)}")

    def _start(self, worker: _Worker) -> None:
        restarted = bool(worker.starts)
        worker.starts.append(self._clock.monotonic())
        worker.process = self._start_process(self._settings, worker.agent_id)
        if restarted:
            self._status(worker, "restarted", f"{worker.agent_id} restarted", pid=worker.process.pid)

    def _status(self, worker: _Worker, status: str, text: str, pid: int | None = None) -> None:
        record = WorkerStatus.model_validate(
            {
                "agent_id": worker.agent_id,
                "study_id": self._settings.study_id,
                "status": status,
                "description": text[:300],
                "pid": pid,
            }
        )
        self._brain.append(record)

    def _end(self) -> None:
        """Leave nothing behind: no worker, no zygote, no worktree."""
        running = [worker.process for worker in self._workers if worker.process is not None]
        if running:
            self._ask(Control.NOW)
        deadline = self._clock.monotonic() + STOP_GRACE_S
        while any(process.poll() is None for process in running) and self._clock.monotonic() < deadline:
            self._clock.sleep(POLL_S)
        for process in running:
            if process.poll() is None:
                process.kill()
                process.wait()
        if self._zygote is not None:
            self._zygote.stop()
        for worker in self._workers:
            with contextlib.suppress(SwarmError):
                self._repo.remove_worktree(worker.agent_id)

    def _reason(self) -> str:
        if self.interrupts.count:
            return "stopped by the user" if self.interrupts.at_once else "drained by the user"
        if all(worker.given_up for worker in self._workers):
            return "no worker could go on"
        if self._asked() is not Control.RUN:
            return "time is up" if self._time_is_up() else "stopped by the user"
        return "all trials done"

    def _time_is_up(self) -> bool:
        return self._settings.deadline_at is not None and self._clock.now() >= self._settings.deadline_at

    def _asked(self) -> Control:
        self._last_asked = read_control(self._settings.layout, self._settings.study_id)
        return self._last_asked

    def _ask(self, control: Control) -> None:
        self._last_asked = control
        write_control(self._settings.layout, self._settings.study_id, control)


def zygote_socket(layout: Layout) -> Path:
    """Where workers find the zygote. One a repository; the orchestrator's lock keeps a second one away."""
    return layout.runtime / "zygote.sock"


def last_line(log: Path) -> str:
    """The end of a process's log, for a message to a person."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return "it left no log"
    return lines[-1][:600] if lines else "it said nothing"


def _exit_text(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
