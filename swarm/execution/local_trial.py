"""One trial on this machine, step by step: probe, request, lease, attempt, and again after a lack of memory.

Before the first training of a program that nobody has seen run, its training is cut to three steps and an evaluation
batch, to see how much memory it takes: a probe, in a folder of its own that is deleted afterwards.
"""

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from swarm.admission import AdmissionController, Infeasible, Lease, Released, Request, Retry
from swarm.clock import Clock
from swarm.errors import NeverFits, NoCardLeft, TrialError, TrialLost
from swarm.execution import phases
from swarm.execution.account import Note, Watch, note_of, resources_of
from swarm.execution.attempt import Attempt, read_attempt, read_probe
from swarm.execution.evidence import Terms
from swarm.execution.executor import Outcome, Progress, TrialOrder
from swarm.execution.graded import lay_out_graded, read_graded
from swarm.execution.memory import informed, observed, probe_request, request_of
from swarm.execution.rungs import score_new_rungs
from swarm.failpoints import failpoint
from swarm.records import FailReason
from swarm.supervisor import Running, TrialResult, kill_leftovers, launch
from swarm.trial.contract import harness_sha256
from swarm.trial.files import write_whole
from swarm.trial.folder import TrialFolder

QUEUE_POLL_S = 0.5
LEASE_POLL_S = 1.0
LOSSES_ALLOWED = 1  # times a trial is run again after its supervisor died

_Answer = TypeVar("_Answer")
Stepping = Generator[Progress, None, _Answer]
Steps = Stepping[Outcome]


@dataclass(frozen=True)
class Machine:
    """What all trials of a study share on this machine; see `LocalExecutor`."""

    trials: Path
    data_dir: Path
    admission: AdmissionController
    clock: Clock
    zygote: Path | None
    secrets: Mapping[str, str]

    def folder(self, trial_id: str) -> TrialFolder:
        return TrialFolder(self.trials / trial_id)


class _Stopped(Exception):
    """The trial was stopped while it waited for memory."""


class LocalTrial:
    """From the request for memory to the outcome, over all attempts. Set `stop_reason` to end it."""

    def __init__(self, machine: Machine, order: TrialOrder, note: Note | None = None) -> None:
        self.stop_reason: str | None = None
        self._machine = machine
        self._admission = machine.admission
        self._clock = machine.clock
        self._order = order
        self._folder = machine.folder(order.trial_id)
        self._note = note

    def run(self) -> Steps:
        if harness_sha256() != self._order.harness_sha256:
            return Outcome(reason=FailReason.HARNESS_MODIFIED, detail="the harness here is not the study's")
        request, probe_s = yield from self._probed(request_of(self._order))
        return (yield from self._attempts(request, probe_s))

    def adopt(self, running: Running) -> Steps:
        """As after an attempt of our own: the predictor learns, and a lack of memory is answered with more of it."""
        assert self._note is not None, "an adopted trial has left a note"
        started, watch = self._note.started, Watch()
        try:
            attempt = yield from self._watched(running, None, watch)
        except TrialLost:
            return (yield from self.run())
        request = replace(request_of(self._order), attempt=started.attempt - 1, alone=started.alone)
        seen = observed(attempt, over_reservation=False)
        released = self._admission.settle(request, started.reservation_mib, seen)
        if isinstance(released.following, Retry):
            return (yield from self._attempts(request.again(released.following), self._note.probe_s))
        return self._outcome(attempt, released, watch)

    def _attempts(self, request: Request, probe_s: float | None) -> Steps:
        """Until one ends otherwise than by a lack of memory that more memory can mend."""
        losses = 0
        while True:
            asked, watch = self._clock.monotonic(), Watch()
            try:
                lease = yield from self._leased(request)
                waited_s = round(self._clock.monotonic() - asked, 3)
                note = note_of(request, lease, self._order.device, waited_s, probe_s)
                attempt = yield from self._attempt(note, lease, watch)
            except NeverFits as error:
                return self._unrun(FailReason.INFEASIBLE, str(error))
            except NoCardLeft as error:
                return self._unrun(FailReason.ABANDONED, str(error))
            except _Stopped:
                return self._unrun(FailReason.ABANDONED, f"{self.stop_reason} while it waited")
            except TrialLost as error:
                if (losses := losses + 1) > LOSSES_ALLOWED:
                    return self._unrun(FailReason.ABANDONED, str(error))
                continue
            released = _given_back(lease, attempt, watch)
            if not isinstance(released.following, Retry):
                return self._outcome(attempt, released, watch)
            request = request.again(released.following)

    def _probed(self, request: Request) -> Stepping[tuple[Request, float | None]]:
        """The request with the peak of three steps and an evaluation batch, where nothing is known of the program; and
        what that took, in seconds. A probe that fails costs its time and nothing else."""
        if self._order.grading is not None:
            return request, None  # a command of its own is not cut to three steps
        if request.alone or self._admission.predict(request).source not in ("profile", "default"):
            return request, None
        try:
            lease = yield from self._leased(probe_request(request, phases.PROBE_WALLTIME_S))
        except (NeverFits, NoCardLeft, _Stopped):
            return request, None  # the trial's own request will meet the same, and say so
        began, watch, probe = self._clock.monotonic(), Watch(), None
        order = self._order.model_copy(update={"trial_id": f"{self._order.trial_id}.probe", "rungs": ()})
        folder = self._machine.folder(order.trial_id)
        try:
            running = self._launch(order, lease)
            result = yield from self._until_over(running, lease, watch, "probing")
            probe = read_probe(folder, result, self._terms)
        except TrialError:
            pass
        finally:
            try:
                kill_leftovers(folder.root)
                folder.remove()
            finally:
                released = _given_back(lease, probe, watch)
        return informed(request, probe, released), round(self._clock.monotonic() - began, 3)

    def _leased(self, request: Request) -> Stepping[Lease]:
        """Waits for memory. Raises NeverFits, NoCardLeft and _Stopped."""
        ticket = self._admission.request(request)
        try:
            while (lease := ticket.poll()) is None:
                looked = self._clock.monotonic()
                while self._clock.monotonic() - looked < QUEUE_POLL_S:
                    if self.stop_reason is not None:
                        raise _Stopped
                    yield Progress(state="waiting", why=ticket.why)
        finally:
            ticket.withdraw()
        return lease

    def _attempt(self, note: Note, lease: Lease, watch: Watch) -> Stepping[Attempt]:
        """One run of the trial's processes. Gives the lease back when it raises, with nothing left running."""
        self._note = note
        try:
            running = self._launch(self._order, lease, note)
            return (yield from self._watched(running, lease, watch))
        except GeneratorExit:
            lease.leave_to_trial()
            raise
        except BaseException:
            try:
                kill_leftovers(self._folder.root)
            finally:
                lease.release()
            raise

    def _launch(self, order: TrialOrder, lease: Lease, note: Note | None = None) -> Running:
        """Starts the trial, or without a note its probe, which nobody adopts."""
        folder = self._machine.folder(order.trial_id)
        if folder.root.exists():
            kill_leftovers(folder.root)
            folder.remove()
        failpoint("trial.before_folder")
        if order.grading is not None:
            spec = lay_out_graded(folder, order, lease)
        else:
            spec = phases.lay_out(folder, order, lease, self._machine.data_dir, probe=note is None)
        failpoint("trial.after_folder")
        if note is not None:
            write_whole(folder.order, order.model_dump_json())
            failpoint("trial.between_notes")
            write_whole(folder.attempt, note.model_dump_json())
            failpoint("trial.after_notes")
        with lease.launching():
            running = launch(spec, lease.lock_fd, socket=self._machine.zygote, secrets=self._machine.secrets)
        with contextlib.suppress(ProcessLookupError):  # it may be over already
            if running.pid is not None:
                lease.bind(running.pid)
        return running

    def _watched(self, running: Running, lease: Lease | None, watch: Watch) -> Stepping[Attempt]:
        """Until it is over, and what it has left. The harness must be the same from the first step to the score."""
        result = yield from self._until_over(running, lease, watch, "running")
        if self._order.grading is not None:
            attempt = read_graded(self._folder, result, self._order, self._terms)
        else:
            attempt = read_attempt(self._folder, result, self._terms)
        self._folder.drop_predictions()
        if watch.lost_card is not None and attempt.score is None:  # whatever it died of, its program is not to blame
            return replace(attempt, reason=FailReason.ABANDONED, detail=watch.lost_card)
        if harness_sha256() == self._order.harness_sha256:
            return attempt
        detail = "the harness's files changed while the trial ran; its result is not comparable"
        return replace(attempt, score=None, reason=FailReason.HARNESS_MODIFIED, detail=detail)

    def _until_over(
        self, running: Running, lease: Lease | None, watch: Watch, state: Literal["probing", "running"]
    ) -> Stepping[TrialResult]:
        started = self._note.started if self._note is not None and state == "running" else None
        stopping = False
        try:
            while (result := running.poll()) is None:
                self._look(lease, watch, rungs=state == "running")
                reason = self.stop_reason or watch.over_reservation or watch.lost_card
                if reason is not None and not stopping:
                    running.stop(reason)
                    stopping = True
                yield Progress(state=state, started=started, rungs=tuple(watch.rungs))
        except TrialError as error:
            kill_leftovers(running.folder)
            raise TrialLost(str(error)) from error
        watch.ended(self._clock.monotonic())
        if lease is not None and watch.lost_card is None:
            watch.lost_card = self._admission.lost_card(lease)
        return result

    def _look(self, lease: Lease | None, watch: Watch, *, rungs: bool) -> None:
        """Once a second: at the rungs, at who shares the device, and at the trial's own reservation."""
        now = self._clock.monotonic()
        if now - watch.looked < LEASE_POLL_S:
            return
        since, watch.looked = now - (watch.looked or now), now
        if rungs:
            watch.rungs += score_new_rungs(self._folder, watch.scored)
        if lease is None:
            return
        neighbours = lease.cotenants()
        watch.co_tenants |= neighbours
        watch.beside = bool(neighbours)
        watch.overlap_s += since if neighbours else 0.0
        if (kill := lease.poll()) is None:
            return
        if kill.lost:
            watch.lost_card = kill.reason
        else:
            watch.over_reservation = f"over_reservation: {kill.reason}"

    @property
    def _terms(self) -> Terms:
        order = self._order
        return Terms(order.budget, order.device, order.threads, order.split, order.harness)

    def _unrun(self, reason: FailReason, detail: str) -> Outcome:
        """The end of a trial whose last attempt left nothing to read."""
        started = self._note.started if self._note is not None else None
        return Outcome(reason=reason, detail=detail, started=started, attempts=started.attempt if started else 1)

    def _outcome(self, attempt: Attempt, released: Released, watch: Watch) -> Outcome:
        assert self._note is not None, "there was an attempt"
        if isinstance(released.following, Infeasible):  # not even alone: a result that proposers read
            detail = released.following.reason
            attempt = replace(attempt, score=None, reason=FailReason.INFEASIBLE, detail=detail)
        return Outcome(
            score=attempt.score,
            reason=attempt.reason,
            detail=attempt.detail,
            attempts=self._note.started.attempt,
            started=self._note.started,
            resources=resources_of(attempt, self._note, watch, self._order.threads),
            sandbox=attempt.result.sandbox.level,
            flags=attempt.flags,
            curve=attempt.train.curve,
            rungs=attempt.rungs,
        )


def _given_back(lease: Lease, attempt: Attempt | None, watch: Watch) -> Released:
    """The lease's end, with what was seen of the attempt. Given back also when that makes no sense to anybody."""
    over = watch.over_reservation is not None
    try:
        seen = observed(attempt, over_reservation=over) if attempt is not None else None
    except BaseException:
        lease.release()
        raise
    return lease.release(seen)
