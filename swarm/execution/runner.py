"""One trial with its records: probe, reserve, run, retry after a lack of memory, conclude.

A claimed trial gets exactly one ending. The ending's id is a function of the study and the trial, so that one sent
twice counts once; a process that died half-way is followed by another that adopts the running trial, collects a
finished one, or runs it again from its commit.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from swarm import verdict
from swarm.admission import (
    AdmissionCancelled,
    AdmissionController,
    Lease,
    Request,
    Retry,
)
from swarm.brain import Brain
from swarm.clock import Clock
from swarm.errors import NeverFits, TrialError, TrialLost
from swarm.execution import PROBE_WALLTIME_S, Executor, Outcome, TrialOrder, score_new_rungs
from swarm.execution.memory import host_ram_mib, informed, observed, probe_request, request_of, with_verdict_of_memory
from swarm.records import (
    Decision,
    FailReason,
    IncumbentChanged,
    Record,
    Resources,
    TrialFinished,
    TrialStarted,
    TrialState,
    VerdictReached,
    WorkerStatus,
)
from swarm.study.settings import RunSettings
from swarm.study.state import BrainState, StudyState, Trial
from swarm.verdict import early_stop
from swarm.verdict.pairing import pair_runs

LEASE_POLL_S = 1.0
LOSSES_ALLOWED = 1  # times a trial is run again after its supervisor died


class Walkaway(Exception):
    """The orchestrator has gone. The trial runs on under its supervisor; whoever resumes the study adopts it."""


@dataclass(frozen=True)
class Interruption:
    """Asked between polls. `stop_reason` ends a running trial with a record; `leave` walks away and lets it run."""

    stop_reason: Callable[[], str | None]
    leave: Callable[[], bool]


@dataclass
class _Watch:
    """What was seen beside a running trial, or beside its probe (which has no rungs)."""

    probes: bool = False
    co_tenants: set[str] = field(default_factory=set)
    overlap_s: float = 0.0
    over_reservation: bool = False
    audited: bool = False
    rungs: set[int] = field(default_factory=set)
    looked: float = 0.0


class TrialRunner:
    """Runs the trials of one worker, one at a time, and writes their records."""

    def __init__(
        self,
        settings: RunSettings,
        agent_id: str,
        brain: Brain,
        admission: AdmissionController,
        executor: Executor,
        interruption: Interruption,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._agent_id = agent_id
        self._brain = brain
        self._admission = admission
        self._executor = executor
        self._interruption = interruption
        self._clock = clock

    def run(self, trial: Trial, commit: str, request: Request | None = None) -> None:
        """From the request for memory (`request`, where an earlier attempt has left one) to the verdict.

        Raises Walkaway, and TrialError for a failed set-up.
        """
        request, probe_s = self._probed(trial, commit, request or self._request(trial))
        losses = 0
        while True:
            asked = self._clock.monotonic()
            try:
                lease = self._reserve(trial, request)
            except NeverFits as error:
                return self._end_without_run(trial, commit, FailReason.INFEASIBLE, str(error))
            except AdmissionCancelled:
                return self._end_without_run(trial, commit, FailReason.ABANDONED, "stopped by the user while it waited")
            waited_s = self._clock.monotonic() - asked
            watch = _Watch()
            try:
                outcome = self._run_once(trial, commit, request, lease, watch)
            except TrialLost as error:
                lease.release()
                if (losses := losses + 1) > LOSSES_ALLOWED:
                    return self._end_without_run(trial, commit, FailReason.ABANDONED, str(error))
                continue
            released = lease.release(observed(outcome, over_reservation=watch.over_reservation))
            if not isinstance(released.following, Retry):
                break
            request = request.again(released.following)
        ending = self._ending(trial, commit, attempts=request.attempt + 1).model_copy(
            update={"resources": self._resources(outcome, lease, watch, waited_s, probe_s), "audit": watch.audited}
        )
        self._finish(ending, with_verdict_of_memory(outcome, released))

    def settle(self, trial: Trial, commit: str | None) -> None:
        """End a trial that an earlier process began: collect it, or run it again, or give it up."""
        try:
            outcome = self._executor.adopt(trial.trial_id, poll=lambda: self._poll(trial, None, _Watch()))
        except TrialLost:
            outcome = None
        if outcome is not None:
            self._conclude_adopted(trial, commit, outcome)
        elif commit is not None:
            self.run(trial, commit)
        else:
            self._end_without_run(trial, None, FailReason.ABANDONED, "its worker died before it committed the program")

    def _conclude_adopted(self, trial: Trial, commit: str | None, outcome: Outcome) -> None:
        """As after a run of our own: the predictor learns, and a lack of memory is answered with more of it."""
        started = trial.started
        request, released = self._request(trial), None
        if started is not None:
            request = replace(request, attempt=started.attempt - 1, alone=started.alone)
            seen = observed(outcome, over_reservation=False)
            released = self._admission.settle(request, started.lease_id, started.reservation_mib, seen)
            if isinstance(released.following, Retry) and commit is not None:
                return self.run(trial, commit, request.again(released.following))
        resources = Resources(
            device=self._settings.device,
            wall_s=outcome.wall_s,
            reservation_mib=started.reservation_mib if started is not None else None,
            peak_mib=outcome.peak_mib,
            host_peak_mib=outcome.host_peak_mib,
        )
        ending = self._ending(trial, commit, request.attempt + 1).model_copy(update={"resources": resources})
        self._finish(ending, outcome if released is None else with_verdict_of_memory(outcome, released))

    def judge(self, trial_id: str) -> None:
        """Record every verdict that a finished trial leads to, once."""
        study = self._study()
        program = study.program_of(trial_id)
        reference = verdict.reference(study, program)
        paired = pair_runs(self._settings.layout, study.study_id, program, reference) if reference else None
        before = study.incumbent.name if study.incumbent else ""

        def conclude(state: BrainState) -> list[Record]:
            fresh = state.studies[self._settings.study_id]
            reached = verdict.conclude(fresh, trial_id, paired)
            return [self._signed(item) for item in reached]

        for record in self._brain.transact(conclude):
            if isinstance(record, VerdictReached) and record.decision is Decision.DISCARD:
                self._forget_weights(record.program)
        now = self._study().incumbent
        if now is not None and now.name != before:
            why = f"{now.name} leads now: {now.first.claim.description}"
            self._brain.append(
                IncumbentChanged(
                    agent_id=self._agent_id,
                    study_id=self._settings.study_id,
                    description=why[:300],
                    program=now.name,
                    previous=before,
                    why=why[:500],
                )
            )

    def _forget_weights(self, program: str) -> None:
        """Weights of what was discarded are in nobody's way but the disk's; those of the others are kept."""
        for trial in self._study().programs[program].trials:
            folder = self._settings.layout.trial(self._settings.study_id, trial.trial_id)
            (folder / "train_out" / "weights.pt").unlink(missing_ok=True)

    def _probed(self, trial: Trial, commit: str, request: Request) -> tuple[Request, float | None]:
        """The request with the peak of three steps and an evaluation batch, where nothing is known of the program; and
        what that took, in seconds. A probe that fails costs its time and nothing else."""
        if request.alone or self._admission.predict(request).source not in ("profile", "default"):
            return request, None
        try:
            lease = self._reserve(trial, probe_request(request, PROBE_WALLTIME_S))
        except (NeverFits, AdmissionCancelled):
            return request, None  # the trial's own request will meet the same, and say so in the record
        self._status("waiting", "three steps show how much memory it takes", trial.trial_id)
        began, watch = self._clock.monotonic(), _Watch(probes=True)
        order = TrialOrder(trial.trial_id, commit, trial.claim.seed)
        outcome: Outcome | None = None
        with contextlib.suppress(TrialError):
            poll = partial(self._poll, trial, lease, watch)
            outcome = self._executor.probe(order, lease, on_start=lease.bind, poll=poll)
        released = lease.release(
            observed(outcome, over_reservation=watch.over_reservation) if outcome is not None else None
        )
        return informed(request, outcome, released), round(self._clock.monotonic() - began, 3)

    def _request(self, trial: Trial) -> Request:
        return request_of(trial.claim, self._settings, self._agent_id, host_ram_mib(self._study(), self._settings))

    def _reserve(self, trial: Trial, request: Request) -> Lease:
        ticket = self._admission.request(request)
        lease = ticket.poll()
        if lease is None:
            self._status("waiting", ticket.why, trial.trial_id)
            lease = ticket.wait(cancelled=self._cancelled)
        return lease

    def _cancelled(self) -> bool:
        if self._interruption.leave():
            raise Walkaway
        return self._interruption.stop_reason() is not None

    def _run_once(self, trial: Trial, commit: str, request: Request, lease: Lease, watch: _Watch) -> Outcome:
        self._brain.append(
            TrialStarted(
                agent_id=self._agent_id,
                study_id=self._settings.study_id,
                description=trial.claim.description,
                trial_id=trial.trial_id,
                commit=commit,
                attempt=request.attempt + 1,
                reservation_mib=lease.reservation_mib,
                lease_id=lease.lease_id,
                device_uuid=lease.device,
                alone=lease.alone,
            )
        )
        self._status("training", trial.claim.description, trial.trial_id)
        rungs = early_stop.RUNGS if self._settings.early_stop else ()
        order = TrialOrder(trial.trial_id, commit, trial.claim.seed, rungs)
        return self._executor.run(order, lease, on_start=lease.bind, poll=lambda: self._poll(trial, lease, watch))

    def _poll(self, trial: Trial, lease: Lease | None, watch: _Watch) -> str | None:
        """A reason to stop the running trial, or None. Once a second it also looks at the device and at the rungs."""
        if self._interruption.leave():
            raise Walkaway
        if (reason := self._interruption.stop_reason()) is not None:
            return reason
        now = self._clock.monotonic()
        if lease is None or now - watch.looked < LEASE_POLL_S:
            return None
        since, watch.looked = now - (watch.looked or now), now
        neighbours = {tenant.trial_id for tenant in lease.cotenants()}
        watch.co_tenants |= neighbours
        watch.overlap_s += since if neighbours else 0.0
        if (kill := lease.poll()) is not None:
            watch.over_reservation = True
            return f"over_reservation: {kill.reason}"
        return None if watch.probes else self._look_at_rungs(trial, watch)

    def _look_at_rungs(self, trial: Trial, watch: _Watch) -> str | None:
        """Why early stopping ends the trial, or None. What it lets go on as a check is remembered."""
        folder = self._settings.layout.trial(self._settings.study_id, trial.trial_id)
        for progress, loss in score_new_rungs(folder, watch.rungs):
            look = early_stop.look(self._study(), trial.trial_id, progress, loss)
            watch.audited |= look.action == "audit"
            if look.action == "stop" and not watch.audited:
                return f"pruned at {progress:.0%} of the budget: {look.why}"
        return None

    def _end_without_run(self, trial: Trial, commit: str | None, reason: FailReason, detail: str) -> None:
        finished = self._ending(trial, commit, attempts=1)
        self._record(
            finished.model_copy(update={"state": TrialState.FAILED, "reason": reason, "detail": detail[:2000]})
        )

    def _finish(self, ending: TrialFinished, outcome: Outcome) -> None:
        filled = ending.model_copy(
            update={
                "validation_loss": outcome.score.validation_loss if outcome.score else None,
                "state": TrialState.COMPLETE if outcome.score else TrialState.FAILED,
                "reason": outcome.reason,
                "detail": outcome.detail[:2000],
                "score": outcome.score,
                "sandbox": outcome.result.sandbox.level,
                "flags": outcome.flags,
                "curve": outcome.train.curve,
                "rungs": outcome.rungs,
            }
        )
        self._record(TrialFinished.model_validate(filled.model_dump()))
        self.judge(ending.trial_id)

    def _ending(self, trial: Trial, commit: str | None, attempts: int) -> TrialFinished:
        return TrialFinished(
            id=f"{self._settings.study_id}/{trial.trial_id}/finished",
            agent_id=self._agent_id,
            study_id=self._settings.study_id,
            description=trial.claim.description,
            trial_id=trial.trial_id,
            state=TrialState.FAILED,
            reason=FailReason.ABANDONED,
            seed=trial.claim.seed,
            commit=commit,
            attempts=attempts,
            harness_sha256=self._settings.harness_sha256,
        )

    def _record(self, finished: TrialFinished) -> None:
        def build(state: BrainState) -> list[Record]:
            same = verdict.stale(state.studies[self._settings.study_id], finished)
            flags = (*finished.flags, f"stale:{same}") if same is not None else finished.flags
            return [finished.model_copy(update={"flags": flags})]

        self._brain.transact(build)

    def _resources(
        self, outcome: Outcome, lease: Lease, watch: _Watch, waited_s: float, probe_s: float | None
    ) -> Resources:
        train = outcome.train
        return Resources(
            device=lease.device_name,
            torch=train.torch,
            threads=self._settings.threads,
            steps=train.steps,
            samples=train.samples,
            solo_rate=train.solo_rate,
            training_s=train.training_seconds,
            wall_s=round(outcome.wall_s, 3),
            waited_s=round(waited_s, 3),
            probe_s=probe_s,
            overhead_s=outcome.overhead_s,
            reservation_mib=lease.reservation_mib,
            reserved_by=lease.source,
            peak_mib=outcome.peak_mib,
            host_peak_mib=outcome.host_peak_mib,
            alloc_retries=train.alloc_retries,
            params_m=train.num_params_M,
            co_tenants=tuple(sorted(watch.co_tenants)),
            overlap_s=round(watch.overlap_s, 1),
        )

    def _signed(self, reached: VerdictReached) -> VerdictReached:
        identity = f"{self._settings.study_id}/{reached.trial_id}/verdict/{reached.program}"
        return reached.model_copy(
            update={"agent_id": self._agent_id, "study_id": self._settings.study_id, "id": identity}
        )

    def _status(self, status: str, text: str, trial_id: str) -> None:
        record = {"agent_id": self._agent_id, "study_id": self._settings.study_id, "status": status}
        self._brain.append(WorkerStatus.model_validate({**record, "description": text[:300], "trial_id": trial_id}))

    def _study(self) -> StudyState:
        return self._brain.snapshot().studies[self._settings.study_id]
