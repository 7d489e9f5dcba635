"""What is written down of a trial: its states, its starts, its one ending, and what follows from it."""

from swarm import verdict
from swarm.brain import Brain
from swarm.errors import BrainError, Escaped, contained
from swarm.execution.executor import Outcome, Started
from swarm.records import (
    MAX_DESCRIPTION,
    FailReason,
    IncumbentChanged,
    Note,
    Record,
    TrialFinished,
    TrialStarted,
    TrialState,
    VerdictReached,
    WorkerStatus,
    one_line,
)
from swarm.study.settings import RunSettings
from swarm.study.state import BrainState, StudyState, Trial


class TrialRecords:
    """The records of one worker's trials. Raises BrainError when the brain fails."""

    def __init__(self, settings: RunSettings, agent_id: str, brain: Brain) -> None:
        self._settings = settings
        self._agent_id = agent_id
        self._brain = brain

    def study(self) -> StudyState:
        return self._brain.snapshot().studies[self._settings.study_id]

    def studies(self) -> list[StudyState]:
        """All that the brain knows, the own one among them."""
        return list(self._brain.snapshot().studies.values())

    def start(self, trial: Trial, started: Started | None, commit: str | None) -> None:
        """Once for each attempt: that of an adopted trial stands in the brain already."""
        known = self.study().trials[trial.trial_id].started
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
            node=started.node,
            device_class=started.device_class,
        )
        self._brain.append(record)

    def end(self, trial: Trial, commit: str | None, outcome: Outcome, *, audited: bool) -> None:
        """The one ending. An outcome that no record can hold is an ending too."""
        written = contained(lambda: self._write_ending(trial, commit, outcome, audited=audited), passing=(BrainError,))
        if isinstance(written, Escaped):
            detail = f"its outcome cannot be recorded: {written.text}"
            plain = Outcome(reason=FailReason.INVALID_OUTPUT, detail=detail)
            self._write_ending(trial, commit, plain, audited=False)

    def _write_ending(self, trial: Trial, commit: str | None, outcome: Outcome, *, audited: bool) -> None:
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
            same = contained(lambda: verdict.stale(state.studies[self._settings.study_id], finished))
            flags = (*finished.flags, f"stale:{same}") if isinstance(same, str) else finished.flags
            return [finished.model_copy(update={"flags": flags})]

        self._brain.transact(build)

    def trouble(self, trial: Trial, text: str) -> None:
        """What went wrong beside a trial, for whoever reads the brain."""
        record = Note(
            agent_id=self._agent_id,
            study_id=self._settings.study_id,
            topic="trouble",
            trial_id=trial.trial_id,
            description=one_line(text, MAX_DESCRIPTION),
            detail=text,
        )
        contained(lambda: self._brain.append(record), passing=(BrainError,))

    def announce_incumbent(self, before: str) -> None:
        now = self.study().incumbent
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

    def signed(self, reached: VerdictReached, cause: str) -> VerdictReached:
        """With an id of the trial that it follows from, so that one program may be judged again for another trial, and
        a verdict sent twice counts once."""
        identity = f"{self._settings.study_id}/{cause}/verdict/{reached.program}"
        return reached.model_copy(
            update={"agent_id": self._agent_id, "study_id": self._settings.study_id, "id": identity}
        )

    def status(self, status: str, text: str, trial_id: str) -> None:
        record = {"agent_id": self._agent_id, "study_id": self._settings.study_id, "status": status}
        self._brain.append(
            WorkerStatus.model_validate(
                {**record, "description": one_line(text, MAX_DESCRIPTION), "trial_id": trial_id}
            )
        )
