"""One trial with its records: reserve, run, retry after a lack of memory, conclude.

A claimed trial gets exactly one ending. The ending's id is a function of the study and the trial, so that one sent
twice counts once; a process that died half-way is followed by another that adopts the running trial, collects a
finished one, or runs it again from its commit.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from swarm import early_stop, verdict
from swarm.admission import (
    AdmissionCancelled,
    AdmissionController,
    Infeasible,
    Lease,
    Observed,
    Released,
    Request,
    Retry,
)
from swarm.brain import Brain
from swarm.clock import Clock
from swarm.errors import NeverFits, TrialLost
from swarm.executor import Executor, Outcome, TrialOrder, score_new_rungs
from swarm.pairing import pair_runs
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
from swarm.settings import RunSettings
from swarm.state import BrainState, StudyState, Trial

LEASE_POLL_S = 1.0
OTHER_PHASES_S = 420.0  # walltime limits of stage, predict and score together
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
    """What was seen beside a running trial."""

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

    def run(self, trial: Trial, commit: str) -> None:
        """From the request for memory to the verdict. Raises Walkaway, and TrialError for a failed set-up."""
        request, losses = self._request(trial), 0
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
            released = lease.release(observed(outcome, watch.over_reservation))
            if not isinstance(released.following, Retry):
                break
            request = request.again(released.following)
        ending = self._ending(trial, commit, attempts=request.attempt + 1).model_copy(
            update={"resources": self._resources(outcome, lease, watch, waited_s), "audit": watch.audited}
        )
        self._finish(ending, _with_verdict_of_memory(outcome, released))

    def settle(self, trial: Trial, commit: str | None) -> None:
        """End a trial that an earlier process began: collect it, or run it again, or give it up."""
        try:
            outcome = self._executor.adopt(trial.trial_id, poll=lambda: self._poll(trial, None, _Watch()))
        except TrialLost:
            outcome = None
        if outcome is not None:
            resources = Resources(device=self._settings.device, wall_s=outcome.wall_s, peak_mib=outcome.peak_mib)
            self._finish(self._ending(trial, commit, attempts=1).model_copy(update={"resources": resources}), outcome)
        elif commit is not None:
            self.run(trial, commit)
        else:
            self._end_without_run(trial, None, FailReason.ABANDONED, "its worker died before it committed the program")

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

    def _request(self, trial: Trial) -> Request:
        settings, claim = self._settings, trial.claim
        on_cpu = settings.device == "cpu"
        return Request(
            agent_id=self._agent_id,
            trial_id=trial.trial_id,
            study_id=settings.study_id,
            walltime_limit_s=settings.budget.walltime_limit_s + OTHER_PHASES_S,
            alone=settings.gpu_mode == "exclusive",
            code_sha256=claim.tree_sha256,
            parents=(claim.parent_tree_sha256,) if claim.parent_tree_sha256 else (),
            probe_mib=settings.memory_mib,
            cpu_slots=settings.threads if on_cpu else 1,
        )

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
                alone=request.alone,
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
        return self._look_at_rungs(trial, watch)

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

    def _resources(self, outcome: Outcome, lease: Lease, watch: _Watch, waited_s: float) -> Resources:
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
            overhead_s=outcome.overhead_s,
            reservation_mib=lease.reservation_mib,
            peak_mib=outcome.peak_mib,
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


def observed(outcome: Outcome, over_reservation: bool) -> Observed:
    """What the admission controller learns from an ending."""
    failed = next((phase for phase in outcome.result.phases if phase.ending != "ok"), None)
    return Observed(
        peak_mib=outcome.peak_mib,
        alloc_retries=outcome.train.alloc_retries or 0,
        out_of_memory=outcome.reason is FailReason.OUT_OF_MEMORY,
        report=outcome.oom,
        host_oom=failed is not None and failed.ending == "host_oom",
        signal=failed.signal if failed is not None and failed.ending == "signal" else None,
        over_reservation=over_reservation,
        failed=failed is not None,
        cap_lifted=outcome.train.cap_lifted,
    )


def _with_verdict_of_memory(outcome: Outcome, released: Released) -> Outcome:
    """A trial that did not fit, even alone, is infeasible: a result that proposers read."""
    if isinstance(released.following, Infeasible):
        return replace(outcome, score=None, reason=FailReason.INFEASIBLE, detail=released.following.reason)
    return outcome
