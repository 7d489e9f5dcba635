"""One trial with its records: order, executor, outcome, verdict.

A claimed trial gets exactly one ending. The ending's id is a function of the study and the trial, so that one sent
twice counts once; a process that died half-way is followed by another that adopts the running trial, collects a
finished one, or runs it again from its commit.
"""

from collections.abc import Callable
from dataclasses import dataclass

from swarm import verdict
from swarm.brain import Brain
from swarm.clock import Clock
from swarm.execution.executor import Executor, Outcome, Progress, RunningTrial, Started, TrialOrder
from swarm.execution.memory import evidence_of
from swarm.records import (
    Decision,
    FailReason,
    IncumbentChanged,
    Record,
    TrialFinished,
    TrialStarted,
    TrialState,
    VerdictReached,
    WorkerStatus,
)
from swarm.study.settings import RunSettings
from swarm.study.state import BrainState, Program, StudyState, Trial
from swarm.verdict import early_stop

POLL_S = 0.1


class Walkaway(Exception):
    """The orchestrator has gone. The trial runs on under its supervisor; whoever resumes the study adopts it."""


@dataclass(frozen=True)
class Interruption:
    """Asked between polls. `stop_reason` ends a running trial with a record; `leave` walks away and lets it run."""

    stop_reason: Callable[[], str | None]
    leave: Callable[[], bool]


class TrialRunner:
    """Runs the trials of one worker, one at a time, and writes their records."""

    def __init__(
        self,
        settings: RunSettings,
        agent_id: str,
        brain: Brain,
        files: Callable[[str], dict[str, bytes]],
        executor: Executor,
        interruption: Interruption,
        clock: Clock,
    ) -> None:
        """`files` reads the target's folder as it is in a commit."""
        self._settings = settings
        self._agent_id = agent_id
        self._brain = brain
        self._files = files
        self._executor = executor
        self._interruption = interruption
        self._clock = clock

    def run(self, trial: Trial, commit: str) -> None:
        """From the order to the verdict. Raises Walkaway, and TrialError for a failed set-up."""
        self._follow(self._executor.submit(self._order(trial, commit)), trial, commit)

    def settle(self, trial: Trial, commit: str | None) -> None:
        """End a trial that an earlier process began: collect it, or run it again, or give it up."""
        running = self._executor.adopt(trial.trial_id)
        if running is not None:
            self._follow(running, trial, commit)
        elif commit is not None:
            self.run(trial, commit)
        else:
            detail = "its worker died before it committed the program"
            self._finish(trial, None, Outcome(reason=FailReason.ABANDONED, detail=detail), audited=False)

    def judge(self, trial_id: str) -> None:
        """Record every verdict that a finished trial leads to, once."""
        study = self._study()
        program = study.program_of(trial_id)
        reference = verdict.reference(study, program)
        mine, theirs = self._losses(program), self._losses(reference) if reference else []
        paired = verdict.paired_difference(mine, theirs) if mine and theirs else None
        before = study.incumbent.name if study.incumbent else ""

        def conclude(state: BrainState) -> list[Record]:
            reached = verdict.conclude(state.studies[self._settings.study_id], trial_id, paired)
            return [self._signed(item) for item in reached]

        for record in self._brain.transact(conclude):
            if isinstance(record, VerdictReached) and record.decision is Decision.DISCARD:
                self._drop_weights(record.program)
        self._announce_incumbent(before)

    def _order(self, trial: Trial, commit: str) -> TrialOrder:
        settings, claim = self._settings, trial.claim
        return TrialOrder(
            study_id=settings.study_id,
            trial_id=trial.trial_id,
            agent_id=self._agent_id,
            target=settings.target,
            files=self._files(commit),
            editable=settings.editable,
            seed=claim.seed,
            budget=settings.budget,
            rungs=early_stop.RUNGS if settings.early_stop else (),
            device=settings.device,
            threads=settings.threads,
            alone=settings.gpu_mode == "exclusive",
            sandbox=settings.sandbox,
            harness_sha256=settings.harness_sha256,
            memory=evidence_of(claim, self._study(), settings),
        )

    def _follow(self, running: RunningTrial, trial: Trial, commit: str | None) -> None:
        """To the outcome and its records. On the way each state is told once, and each rung judged once."""
        told, audited, judged = "", False, 0
        while isinstance(now := running.poll(), Progress):
            if self._interruption.leave():
                running.detach()
                raise Walkaway
            if (reason := self._interruption.stop_reason()) is not None:
                running.stop(reason)
            if (state := _state(now)) != told:
                told = state
                self._tell(trial, now, commit)
            for progress, loss in now.rungs[judged:]:
                judged += 1
                look = early_stop.look(self._study(), trial.trial_id, progress, loss)
                audited |= look.action == "audit"
                if look.action == "stop" and not audited:
                    running.stop(f"pruned at {progress:.0%} of the budget: {look.why}")
            self._clock.sleep(POLL_S)
        self._record_start(trial, now.started, commit)  # it may have been over before anybody looked
        self._finish(trial, commit, now, audited=audited)
        self.judge(trial.trial_id)

    def _tell(self, trial: Trial, now: Progress, commit: str | None) -> None:
        """What others may want to know about a trial that is on its way."""
        match now.state:
            case "waiting":
                self._status("waiting", now.why, trial.trial_id)
            case "probing":
                self._status("waiting", "three steps show how much memory it takes", trial.trial_id)
            case "running":
                self._record_start(trial, now.started, commit)
                self._status("training", trial.claim.description, trial.trial_id)

    def _record_start(self, trial: Trial, started: Started | None, commit: str | None) -> None:
        """Once for each attempt: that of an adopted trial stands in the brain already."""
        known = self._study().trials[trial.trial_id].started
        if started is None or (known is not None and known.lease_id == started.lease_id):
            return
        record = TrialStarted(
            agent_id=self._agent_id,
            study_id=self._settings.study_id,
            description=trial.claim.description,
            trial_id=trial.trial_id,
            commit=commit or "",
            attempt=started.attempt,
            reservation_mib=started.reservation_mib,
            lease_id=started.lease_id,
            device_uuid=started.device_uuid,
            alone=started.alone,
        )
        self._brain.append(record)

    def _finish(self, trial: Trial, commit: str | None, outcome: Outcome, *, audited: bool) -> None:
        finished = TrialFinished(
            id=f"{self._settings.study_id}/{trial.trial_id}/finished",
            agent_id=self._agent_id,
            study_id=self._settings.study_id,
            description=trial.claim.description,
            validation_loss=outcome.score.validation_loss if outcome.score else None,
            trial_id=trial.trial_id,
            state=TrialState.COMPLETE if outcome.score else TrialState.FAILED,
            reason=outcome.reason,
            detail=outcome.detail[:2000],
            score=outcome.score,
            resources=outcome.resources,
            seed=trial.claim.seed,
            commit=commit,
            attempts=outcome.attempts,
            harness_sha256=self._settings.harness_sha256,
            sandbox=outcome.sandbox,
            flags=outcome.flags,
            curve=outcome.curve,
            rungs=outcome.rungs,
            audit=audited,
        )

        def build(state: BrainState) -> list[Record]:
            same = verdict.stale(state.studies[self._settings.study_id], finished)
            flags = (*finished.flags, f"stale:{same}") if same is not None else finished.flags
            return [finished.model_copy(update={"flags": flags})]

        self._brain.transact(build)

    def _losses(self, program: Program) -> list[list[float]]:
        """Per-image losses of its runs, as far as they left any."""
        found = (self._executor.losses(trial.trial_id) for trial in program.trials)
        return [row for row in found if row is not None]

    def _drop_weights(self, program: str) -> None:
        """Weights of what was discarded are in nobody's way but the disk's; those of the others are kept."""
        for trial in self._study().programs[program].trials:
            self._executor.drop_weights(trial.trial_id)

    def _announce_incumbent(self, before: str) -> None:
        now = self._study().incumbent
        if now is None or now.name == before:
            return
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


def _state(now: Progress) -> str:
    """What a reader of the brain is told once: a state, and which attempt runs."""
    return f"{now.state} {now.started.attempt if now.started else ''}"
