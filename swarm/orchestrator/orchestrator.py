"""Starts the workers of one study, watches them, restarts those that die, and ends the study cleanly.

The orchestrator decides nothing about research: workers read the brain and agree by it. It owns the worktrees, the
worker processes and the study's last line. It never asks anybody anything.

Not promised: that a worker which dies six times within ten minutes without ending a trial is started a seventh time.
The study then goes on with the others and says so.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Sequence

from swarm.brain import Brain
from swarm.brain.room import LOOK_EVERY_S, shortage
from swarm.clock import Clock
from swarm.errors import SwarmError, TrialError, UsageError
from swarm.failpoints import failpoint
from swarm.orchestrator.ahead import Foresight
from swarm.orchestrator.control import Control, read_control, write_control
from swarm.orchestrator.ending import end_trials, end_workers
from swarm.orchestrator.interrupts import Interrupts
from swarm.orchestrator.settings_file import save_settings
from swarm.orchestrator.telling import Telling
from swarm.orchestrator.worker_process import (
    GIVEN_UP_IN_A_ROW,
    RESTART_WINDOW_S,
    RESTARTS_ALLOWED,
    WorkerProcess,
    WorkerSlot,
    call_back,
    exit_text,
    last_line,
    start_worker,
)
from swarm.records import FailReason, Note, Record, StudyClosed, TrialFinished, WorkerStatus
from swarm.repo import Repo
from swarm.study.hands import in_hands_of
from swarm.study.settings import RunSettings
from swarm.study.state import StudyState
from swarm.supervisor import Zygote
from swarm.trial.contract import PRELOAD, code_root

POLL_S = 0.2


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
        self.interrupts = Interrupts(self._wish)
        self._settings = settings
        self._brain = brain
        self._repo = repo
        self._clock = clock
        self._start_process = start
        self._renew = renew
        self._workers = [WorkerSlot(agent_id) for agent_id in settings.proposers]
        self._zygote: Zygote | None = None
        self.foresight = Foresight(settings, clock)
        self._last_asked = Control.RUN
        self._telling = Telling(brain)
        self._look_at_disk = 0.0
        self.trouble: str | None = None  # what the study waits for, for people

    def run(self, tick: Callable[[], None]) -> str:
        """Run until every worker is done. `tick` is called a few times a second to draw. Returns why it ended.

        Raises SwarmError when every worker had to be given up, with the last words of the first one.
        """
        self._ask(Control.RUN)
        with self.interrupts:
            try:
                self._prepare()
                while not all(worker.done for worker in self._workers) and not self._is_to_stop:
                    self._step()
                    tick()
                    self._clock.sleep(POLL_S)
            finally:
                self._end()
        reason = self._reason()
        closed = StudyClosed(study_id=self._settings.study_id, reason=reason, description=f"study closed: {reason}")
        self._telling.close(closed)
        if all(worker.given_up for worker in self._workers):
            log = self._settings.layout.worker_log(self._settings.study_id, self._workers[0].agent_id)
            raise SwarmError(f"no worker could go on: {last_line(log)}. Its log: {log}")
        return reason

    def _prepare(self) -> None:
        self._repo.heal()
        for worker in self._workers:
            self._repo.add_worktree(worker.agent_id, self._settings.base_commit, self._settings.target_folder)
        if self._settings.start_up == "zygote" and not self._settings.on_nodes:
            self._warm_up()

    def _restore_runtime(self) -> None:
        """Somebody has deleted `.swarm/`: make anew what workers and other processes look for in it. Trials that ran
        there run again; weights and transcripts of earlier ones are lost."""
        settings = self._settings
        if self.trouble is not None:
            return
        self._renew()
        if settings.layout.settings(settings.study_id).exists():
            return
        save_settings(settings)
        self._ask(self._last_asked)
        text = f"{settings.layout.runtime} was deleted while the study ran: it was made again, running trials run again"
        self._record(Note(study_id=settings.study_id, topic="runtime", description=text[:300]))

    def _step(self) -> None:
        self._watch_disk()
        self._restore_runtime()
        if (word := self.foresight.word(self._study, self._asked())) is not None:
            self._ask(word)
        if finding := self.foresight.finding():
            self._record(*finding)
        if self.foresight.gave_more(self._study()):
            call_back(self._workers)
        for worker in self._workers:
            if not worker.done:
                self._tend(worker)
        if self._zygote is not None and not self._zygote.alive():
            self._warm_up()  # it also ends by itself when the code that it has loaded changes

    def _wish(self, wish: Control) -> None:
        """A person's: the first Ctrl-C ends the search, and the finals follow; while they run, it ends them too."""
        follows = wish is Control.DRAIN and self.foresight.ahead is not None and self._asked() is Control.RUN
        self._ask(Control.FINALS if follows else wish)

    def _warm_up(self) -> None:
        """Without a zygote each trial starts an interpreter of its own: slower, with the same results."""
        path = (str(code_root()),)
        try:
            failpoint("zygote.before_start")
            self._zygote = Zygote.start(
                PRELOAD, self._settings.layout.zygote_socket, pythonpath=path, wanted=lambda: not self._is_to_stop
            )
            failpoint("zygote.after_start")
        except TrialError as error:
            self._zygote = None
            if self._is_to_stop:
                return
            text = f"trials start cold from here on: {error}"
            self._record(Note(study_id=self._settings.study_id, topic="start-up", description=text[:300]))

    def _tend(self, worker: WorkerSlot) -> None:
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
        self._status(worker, "crashed", f"{worker.agent_id} died ({exit_text(code)})")
        self._schedule_restart(worker)

    def _schedule_restart(self, worker: WorkerSlot) -> None:
        now = self._clock.monotonic()
        if self._has_ended_trials(worker):
            worker.forgive()
        deaths = worker.deaths_in_window(now)
        if deaths > RESTARTS_ALLOWED:
            self._give_up(worker, f"died {deaths} times in {RESTART_WINDOW_S:.0f} s")
            return
        worker.pause(now)

    def _has_ended_trials(self, worker: WorkerSlot) -> bool:
        """Whether it came further since it was started. Trials given up one after the other are no progress."""
        endings = self._endings(worker.agent_id)
        recent = [ending.reason is FailReason.ABANDONED for ending in endings[-GIVEN_UP_IN_A_ROW:]]
        return len(endings) > worker.endings and not (len(recent) == GIVEN_UP_IN_A_ROW and all(recent))

    def _endings(self, agent_id: str) -> list[TrialFinished]:
        study = self._study()
        ended = [trial.finished for trial in study.finished_trials()] if study is not None else []
        return [ending for ending in ended if ending is not None and ending.agent_id == agent_id]

    def _study(self) -> StudyState | None:
        return self._brain.snapshot().study(self._settings.study_id)

    def _give_up(self, worker: WorkerSlot, why: str) -> None:
        worker.done = worker.given_up = True
        log = self._settings.layout.worker_log(self._settings.study_id, worker.agent_id)
        self._status(worker, "stopped", f"{worker.agent_id} {why}, given up: {last_line(log)}")

    def _start(self, worker: WorkerSlot) -> None:
        if self.trouble is not None:  # without room it could not even open its log
            return
        restarted = bool(worker.starts)
        worker.starts.append(self._clock.monotonic())
        worker.endings = len(self._endings(worker.agent_id))
        failpoint("worker.before_start")
        worker.process = self._start_process(self._settings, worker.agent_id)
        failpoint("worker.after_start")
        if restarted:
            self._status(worker, "restarted", f"{worker.agent_id} restarted", pid=worker.process.pid)

    def _status(self, worker: WorkerSlot, status: str, text: str, pid: int | None = None) -> None:
        record = WorkerStatus.model_validate(
            {
                "agent_id": worker.agent_id,
                "study_id": self._settings.study_id,
                "status": status,
                "description": text[:300],
                "pid": pid,
            }
        )
        self._record(record)

    def _record(self, *records: Record) -> None:
        self.trouble = self._telling.tell(*records) or self.trouble

    def _watch_disk(self) -> None:
        now = self._clock.monotonic()
        if now < self._look_at_disk:
            return
        self._look_at_disk = now + LOOK_EVERY_S
        missing = shortage(self._settings.root)
        self.trouble = f"{missing}. The study waits, and goes on when there is room." if missing is not None else None
        if self._telling.unwritten and self.trouble is None:
            self._record()

    def _end(self) -> None:
        """Leave nothing behind within seconds: no worker, no trial, no zygote, no worktree. Whatever fails here, the
        rest is ended."""
        running = [worker for worker in self._workers if worker.process is not None]
        with contextlib.ExitStack() as last:
            for worker in self._workers:
                last.callback(self._drop_worktree, worker.agent_id)
            last.callback(self._stop_zygote)
            if not running:
                return
            with contextlib.suppress(OSError):  # then nobody hears it, and they are killed
                self._ask(Control.NOW)
            processes = [worker.process for worker in running if worker.process is not None]
            if end_workers(processes, self._clock):
                self._stop_zygote(at_once=True)  # it may be what they waited for
                self._end_trials([worker.agent_id for worker in running])

    def _stop_zygote(self, *, at_once: bool = False) -> None:
        zygote, self._zygote = self._zygote, None
        if zygote is None:
            return
        if at_once and zygote.alive():
            os.kill(zygote.pid, signal.SIGKILL)
        zygote.stop()

    def _end_trials(self, agents: Sequence[str]) -> None:
        """What workers had claimed that did not end by themselves."""
        study = self._study()
        left = [trial for agent_id in agents for trial in in_hands_of(study, agent_id)] if study is not None else []
        end_trials(self._settings, self._brain, left, "its worker did not end when it was told to")

    def _drop_worktree(self, agent_id: str) -> None:
        with contextlib.suppress(SwarmError, OSError):
            self._repo.remove_worktree(agent_id)

    def _reason(self) -> str:
        if self.interrupts.count:
            return "stopped by the user" if self.interrupts.at_once else "drained by the user"
        if all(worker.given_up for worker in self._workers):
            return "no worker could go on"
        if self.foresight.plateau is not None:
            return f"ended early, at a plateau: {self.foresight.plateau}"
        if self._asked() is Control.FINALS:
            return "the finals have ended"
        if self._asked() is not Control.RUN:
            return "time is up" if self.foresight.time_is_up() else "stopped by the user"
        return "all trials done"

    def _asked(self) -> Control:
        layout, study_id = self._settings.layout, self._settings.study_id
        if layout.control(study_id).exists():  # else it was deleted: what was asked last still holds
            self._last_asked = read_control(layout, study_id)
        return self._last_asked

    @property
    def _is_to_stop(self) -> bool:
        return self._asked() is Control.NOW

    def _ask(self, control: Control) -> None:
        self._last_asked = control
        write_control(self._settings.layout, self._settings.study_id, control)
