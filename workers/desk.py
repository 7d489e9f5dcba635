"""A worker's desk: everything it works with, and the steps of its loop.

`workers.loop` reads as one screen because the steps are here; the rules are elsewhere (what is owed: `dispatch`; what
may run: `swarm.gate`; what it meant: `swarm.verdict`).
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from filelock import FileLock, Timeout

from swarm.admission import AdmissionController, default_root
from swarm.brain import Brain
from swarm.clock import Clock, SystemClock
from swarm.errors import MergeConflict, StaleSnapshot, SwarmError, TrialError
from swarm.executor import LocalExecutor
from swarm.gpu import detect_probe
from swarm.orchestrator import zygote_socket
from swarm.records import MAX_DESCRIPTION, Note, ProposalClaimed, WorkerStatus
from swarm.repo import Repo, trial_ref
from swarm.settings import Control, RunSettings, read_control
from swarm.state import BrainState, StudyState, Trial
from swarm.trial import Interruption, TrialRunner
from workers.arms import SLOW_ARMS, Surroundings, build_arms
from workers.claims import Draft, Refused, baseline_claim, proposal_claim, replicate_claim
from workers.dispatch import DIAGNOSIS, Duty, Propose, choose, diagnosis_due, next_proposal, proposals_are_near
from workers.drafts import Background, Drafter, Sources

PATIENCE_S = 10.0  # at most, for a language model's answer while the device could already work
PATIENCE_SHARE = 0.05  # of a trial's budget
NOTHING_NEW_PAUSE_S = 2.0  # doubled each time in a row
LONGEST_PAUSE_S = 60.0
BASELINE_FAILURES = 3
AGENT_LOCK_TIMEOUT_S = 60.0


class Desk:
    """One worker of one study."""

    def __init__(self, settings: RunSettings, agent_id: str, clock: Clock, secrets: Mapping[str, str]) -> None:
        self.settings = settings
        self.agent_id = agent_id
        self._clock = clock
        self._brain = Brain(settings.brain, clock=clock)
        self._repo = Repo.open(settings.root)
        self._sources = Sources(settings, self._repo)
        behind_brain = Brain(settings.brain, clock=clock)
        self._arms = build_arms(
            Surroundings(
                settings=settings,
                agent_id=agent_id,
                clock=clock,
                merge=self._repo.merge,
                source_of=lambda name: self._sources.of_program(self._study_in(behind_brain), name),
                study=lambda: self._study_in(behind_brain),
                secrets=secrets,
            )
        )
        probe = detect_probe(settings.device)
        self._device_mib = max((reading.total_mib for reading in probe.read()), default=None)
        limit_mib = self._device_mib if settings.device == "cuda" else None
        self._drafter = Drafter(settings, agent_id, self._brain, self._sources, self._arms, limit_mib)
        self._behind = Drafter(settings, agent_id, behind_brain, self._sources, self._arms, limit_mib)
        self._background = Background(self._behind.draft)
        self._base_source = self._sources.of_commit(settings.base_commit)
        self._dry_turns = 0  # in a row in which no arm had anything new
        self._orchestrator_pid = os.getppid()
        zygote = zygote_socket(settings.layout) if settings.start_up == "zygote" else None
        self._runner = TrialRunner(
            settings,
            agent_id,
            self._brain,
            AdmissionController(default_root(), probe, clock),
            LocalExecutor(settings, self._repo, zygote=zygote, sleep=clock.sleep),
            Interruption(stop_reason=self._stop_reason, leave=self._orphaned),
            clock,
        )

    def start(self) -> None:
        self.status("started", f"{self.agent_id} proposes with {', '.join(self._arms.available())}")

    def status(self, status: str, text: str, trial_id: str | None = None) -> None:
        record = WorkerStatus.model_validate(
            {
                "agent_id": self.agent_id,
                "study_id": self.settings.study_id,
                "status": status,
                "description": text,
                "trial_id": trial_id,
                "pid": os.getpid(),
            }
        )
        self._brain.append(record)

    def unfinished(self) -> list[Trial]:
        """Trials that an earlier process of this worker claimed and did not end; the first worker also takes those of
        workers that this run does not have."""
        names = set(self.settings.proposers)
        first = self.agent_id == min(names)
        return [
            trial
            for trial in self._study().open_trials()
            if trial.claim.agent_id == self.agent_id or (first and trial.claim.agent_id not in names)
        ]

    def settle(self, trial: Trial) -> None:
        """Adopt, collect, run again or give up a trial that somebody left behind."""
        self._runner.settle(trial, self._known_commit(trial))

    def may_start(self) -> bool:
        """Whether one more trial may begin. Raises SwarmError when the baseline does not work."""
        study = self._study()
        if not self._has_room(study):
            return False
        self._require_working_baseline(study)
        return True

    def next_duty(self) -> Duty | None:
        """What is owed now; None when every arm is out of proposals and nothing that runs can change that."""
        while True:
            study = self._study()
            duty = choose(study, agent_id=self.agent_id, arms=self._arms.available(), device_mib=self._device_mib)
            if duty is not None or not study.open_trials():
                break
            self._clock.sleep(NOTHING_NEW_PAUSE_S)
        if isinstance(duty, Propose) and duty.diagnosis is not None:
            self._write_diagnosis(duty.diagnosis)
        return duty

    def claim_baseline(self) -> Trial:
        return self._claimed(
            lambda state: baseline_claim(state, self.settings, self.agent_id, self._base_source),
        )

    def claim_replicate(self, program: str) -> Trial:
        return self._claimed(lambda state: replicate_claim(state, self.settings, self.agent_id, program))

    def claim_proposal(self, duty: Propose) -> Trial | None:
        """The trial of a new program, or None when none came of it. Raises StaleSnapshot when the study is full."""
        draft = self._draft(duty)
        while draft is not None and (rebased := self._on_the_incumbent(draft)) is not None:
            try:
                trial = self._claim_draft(rebased)
            except StaleSnapshot:
                if not self._has_room(self._study()):
                    self._record_unused(draft)
                    raise
                continue  # the incumbent has moved once more
            return trial
        return None

    def prepare_next(self) -> None:
        """Let a model think about the next proposal while the trial that was just claimed trains.

        Whatever else is owed before it. Arms that answer at once are asked when the trial has ended: they know its
        result then.
        """
        study, arms = self._study(), self._arms.available()
        if arms and self._has_room(study) and proposals_are_near(study):
            duty = next_proposal(study, agent_id=self.agent_id, arms=arms, device_mib=self._device_mib)
            if duty.arm in SLOW_ARMS:
                self._background.start(duty)

    def run(self, trial: Trial) -> None:
        self._runner.run(trial, self._commit(trial))

    def clear(self) -> None:
        """Record what an unused draft has cost, made or in the making."""
        if (unfinished := self._behind.give_up()) is not None:
            self._drafter.failed(*unfinished)
        draft = self._background.leftover()
        if draft is not None:
            self._record_unused(draft)

    def _has_room(self, study: StudyState) -> bool:
        """Whether the study's limits and the person at the keyboard allow one more trial."""
        if self._orphaned() or read_control(self.settings.layout, self.settings.study_id) is not Control.RUN:
            return False
        if self.settings.deadline_at is not None and self._clock.now() >= self.settings.deadline_at:
            return False
        return self.settings.trials is None or len(study.trials) < self.settings.trials

    def _study(self) -> StudyState:
        return self._study_in(self._brain)

    def _study_in(self, brain: Brain) -> StudyState:
        study = brain.snapshot().study(self.settings.study_id)
        if study is None:
            raise SwarmError(f"study {self.settings.study_id} is not in {self.settings.brain}")
        return study

    def _claimed(self, build: Callable[[BrainState], ProposalClaimed]) -> Trial:
        record = self._brain.transact(lambda state: [build(state)])[0]
        assert isinstance(record, ProposalClaimed)
        return self._study().trials[record.trial_id]

    def _draft(self, duty: Propose) -> Draft | None:
        """The prepared draft if there is one; else the duty's arm; else whatever else can propose at once."""
        slow = duty.arm in SLOW_ARMS
        if slow:
            self._background.start(duty)
        draft = self._background.take(self._patience_s if slow else 0.0)
        at_once = iter(self._arms.at_once(first=duty.arm))
        while draft is None and (arm := next(at_once, None)) is not None:
            draft = self._drafter.draft(replace(duty, arm=arm))
        if draft is not None:
            self._dry_turns = 0
            return draft
        self.status("cooling", "no arm has a new proposal")
        self._clock.sleep(min(LONGEST_PAUSE_S, NOTHING_NEW_PAUSE_S * 2**self._dry_turns))
        self._dry_turns += 1
        return None

    @property
    def _patience_s(self) -> float:
        budget = self.settings.budget
        return PATIENCE_S if budget.kind == "samples" else min(PATIENCE_S, PATIENCE_SHARE * budget.amount)

    def _on_the_incumbent(self, draft: Draft) -> Draft | None:
        """The draft, rebased if the incumbent has moved since it was made; None, recorded, when the two conflict."""
        study = self._study()
        incumbent, proposal = study.incumbent, draft.proposal
        if incumbent is None or draft.follows in (None, incumbent.name):
            return draft
        base = self._sources.of_program(study, draft.follows)
        ours = self._sources.of_program(study, incumbent.name)
        try:
            merged = self._repo.merge(base, ours, proposal.source)
        except MergeConflict as conflict:
            self._refuse(
                draft, "conflict", f"made on {draft.follows}, and the incumbent is {incumbent.name} now: {conflict}"
            )
            return None
        moved = proposal.model_copy(update={"parent": incumbent.name, "source": merged})
        return replace(draft, proposal=moved, follows=incumbent.name)

    def _claim_draft(self, draft: Draft) -> Trial | None:
        """The trial with its commit; None, recorded, when the gate refuses the program now. Raises StaleSnapshot."""
        study, proposal = self._study(), draft.proposal
        source = self._sources.of_program(study, proposal.parent)
        try:
            trial = self._claimed(lambda state: proposal_claim(state, self.settings, self.agent_id, draft, source))
        except Refused as refused:
            refusal = refused.refusal
            self._refuse(draft, refusal.code, refusal.detail, refusal.repeats)
            return None
        parent = self._sources.commit_of(study, proposal.parent)
        message = f"{trial.trial_id}: {proposal.description}\n\n{self.agent_id}, {proposal.proposer}"
        ref = trial_ref(self.settings.study_id, trial.trial_id)
        self._repo.commit_change(parent, {self.settings.editable_path: proposal.source}, message, ref)
        return trial

    def _record_unused(self, draft: Draft) -> None:
        """Embedded arms propose for nothing; what a model's answer has cost counts, used or not."""
        if draft.proposal.usage is not None:
            self._refuse(draft, "unused", "the study ended before it could run")

    def _refuse(self, draft: Draft, code: str, detail: str, repeats: str | None = None) -> None:
        self._drafter.refuse(draft.briefing, draft.proposal, draft.arm, code, detail, repeats)

    def _write_diagnosis(self, text: str) -> None:
        """A note in the brain, once for every five proposals without a confirmed keep."""
        note = Note(
            agent_id=self.agent_id,
            study_id=self.settings.study_id,
            topic=DIAGNOSIS,
            description=text[:MAX_DESCRIPTION],
            detail=text,
        )
        self._brain.transact(lambda state: [note] if diagnosis_due(state.studies[note.study_id]) else [])

    def _commit(self, trial: Trial) -> str:
        commit = self._known_commit(trial)
        if commit is None:
            raise TrialError(f"trial {trial.trial_id} has no commit")
        return commit

    def _known_commit(self, trial: Trial) -> str | None:
        """The commit of a trial's program; None if it was claimed and its author died before the commit."""
        study = self._study()
        if study.program_of(trial.trial_id) is study.baseline:
            return self.settings.base_commit
        return self._repo.refs(study.study_id).get(trial.claim.program)

    def _require_working_baseline(self, study: StudyState) -> None:
        baseline = study.baseline
        if baseline is None or baseline.losses:
            return
        failed = [trial.finished for trial in baseline.trials if trial.finished is not None]
        if len(failed) >= BASELINE_FAILURES:
            raise SwarmError(
                f"the unchanged program failed {len(failed)} times, so there is nothing to improve on. "
                f"Last: {failed[-1].reason}: {failed[-1].detail}"
            )

    def _orphaned(self) -> bool:
        return os.getppid() != self._orchestrator_pid

    def _stop_reason(self) -> str | None:
        now = read_control(self.settings.layout, self.settings.study_id) is Control.NOW
        return "stopped by the user" if now else None


@contextmanager
def open_desk(settings: RunSettings, agent_id: str, secrets: Mapping[str, str]) -> Iterator[Desk]:
    """A desk whose agent nobody else plays. Raises SwarmError when another process still does after a while."""
    lock = FileLock(settings.layout.study(settings.study_id) / f"{agent_id}.lock", fallback_to_soft=False)
    try:
        lock.acquire(timeout=AGENT_LOCK_TIMEOUT_S)
    except Timeout:
        raise SwarmError(f"{agent_id} is played by another process already; stop it first") from None
    desk = Desk(settings, agent_id, SystemClock(), secrets)
    try:
        desk.start()
        yield desk
        desk.clear()
        desk.status("stopped", f"{agent_id} is done")
    finally:
        lock.release()
