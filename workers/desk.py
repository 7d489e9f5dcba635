"""A worker's desk: everything it works with, and the steps of its loop.

`workers.loop` reads as one screen because the steps are here; the rules are elsewhere (what is owed: `dispatch`; what
may run: `swarm.gate`; what it meant: `swarm.verdict`).
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from filelock import FileLock, Timeout

from swarm import gate, verdict
from swarm.admission import AdmissionController, default_root
from swarm.brain import Brain
from swarm.clock import Clock, SystemClock
from swarm.errors import MergeConflict, StaleSnapshot, SwarmError, TrialError
from swarm.executor import LocalExecutor
from swarm.gpu import detect_probe
from swarm.orchestrator import zygote_socket
from swarm.records import ProposalClaimed, WorkerStatus
from swarm.repo import Repo, trial_ref
from swarm.settings import Control, RunSettings, read_control
from swarm.state import BrainState, StudyState, Trial
from swarm.trial import Interruption, TrialRunner
from workers.arms import SLOW_ARMS, Surroundings, build_arms
from workers.claims import Draft, Refused, baseline_claim, proposal_claim, replicate_claim
from workers.dispatch import Duty, Propose, choose
from workers.drafts import Background, Drafter, Sources

PATIENCE_S = 10.0  # at most, for a language model's answer while the device could already work
PATIENCE_SHARE = 0.05  # of a trial's budget
NOTHING_NEW_PAUSE_S = 2.0
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
        behind = Drafter(settings, agent_id, behind_brain, self._sources, self._arms, limit_mib)
        self._background = Background(behind.draft)
        self._base_tree = gate.tree_sha256(self._sources.of_commit(settings.base_commit))
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
        """Whether one more trial may begin."""
        if self._orphaned() or read_control(self.settings.layout, self.settings.study_id) is not Control.RUN:
            return False
        if self.settings.deadline_at is not None and self._clock.now() >= self.settings.deadline_at:
            return False
        study = self._study()
        if self.settings.trials is not None and len(study.trials) >= self.settings.trials:
            return False
        self._require_working_baseline(study)
        return True

    def next_duty(self) -> Duty | None:
        """What is owed now; None when every arm is out of proposals and nothing that runs can change that."""
        while (duty := self._duty()) is None and self._study().open_trials():
            self._clock.sleep(NOTHING_NEW_PAUSE_S)
        return duty

    def claim_baseline(self) -> Trial:
        return self._claimed(
            lambda state: baseline_claim(state, self.settings, self.agent_id, self._base_tree),
        )

    def claim_replicate(self, program: str) -> Trial:
        return self._claimed(lambda state: replicate_claim(state, self.settings, self.agent_id, program))

    def claim_proposal(self, duty: Propose) -> Trial | None:
        """The trial of a new program, or None when no arm had one to give. Raises StaleSnapshot."""
        draft = self._draft(duty)
        if draft is None:
            return None
        draft = self._on_the_incumbent(draft)
        source = self._sources.of_program(self._study(), draft.proposal.parent)
        try:
            trial = self._claimed(lambda state: proposal_claim(state, self.settings, self.agent_id, draft, source))
        except Refused as refused:
            self._record_refusal(draft, refused.refusal)
            return None
        parent = self._sources.commit_of(self._study(), draft.proposal.parent)
        message = f"{trial.trial_id}: {draft.proposal.description}\n\n{self.agent_id}, {draft.proposal.proposer}"
        ref = trial_ref(self.settings.study_id, trial.trial_id)
        self._repo.commit_change(parent, {self.settings.editable_path: draft.proposal.source}, message, ref)
        return trial

    def prepare_next(self) -> None:
        """Let the next proposal be made while the trial that was just claimed trains."""
        duty = self._duty()
        if isinstance(duty, Propose):
            self._background.start(duty)

    def run(self, trial: Trial) -> None:
        self._runner.run(trial, self._commit(trial))

    def _duty(self) -> Duty | None:
        arms = self._arms.available()
        study = self._study()
        if not arms and not verdict.replicates_owed(study) and self._noise_is_measured(study):
            return None
        return choose(study, agent_id=self.agent_id, arms=arms, device_mib=self._device_mib)

    def _noise_is_measured(self, study: StudyState) -> bool:
        return study.baseline is not None and len(study.baseline.losses) >= self.settings.noise_replicates

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
        if draft is not None:
            return draft
        for arm in self._arms.at_once(first=duty.arm):
            draft = self._drafter.draft(replace(duty, arm=arm))
            if draft is not None:
                return draft
        self.status("cooling", "no arm has a new proposal")
        self._clock.sleep(NOTHING_NEW_PAUSE_S)
        return None

    @property
    def _patience_s(self) -> float:
        budget = self.settings.budget
        return PATIENCE_S if budget.kind == "samples" else min(PATIENCE_S, PATIENCE_SHARE * budget.amount)

    def _on_the_incumbent(self, draft: Draft) -> Draft:
        """The draft rebased, if the incumbent has moved since it was made. Raises StaleSnapshot when that conflicts."""
        study = self._study()
        incumbent, proposal = study.incumbent, draft.proposal
        made_on = draft.briefing.incumbent.trial_id
        if incumbent is None or proposal.parent != made_on or incumbent.name == made_on:
            return draft
        base = self._sources.of_program(study, made_on)
        ours = self._sources.of_program(study, incumbent.name)
        try:
            merged = self._repo.merge(base, ours, proposal.source)
        except MergeConflict as conflict:
            raise StaleSnapshot(f"the draft does not go with the new incumbent: {conflict}") from conflict
        moved = proposal.model_copy(update={"parent": incumbent.name, "source": merged})
        view = draft.briefing.incumbent.model_copy(update={"trial_id": incumbent.name})
        return replace(draft, proposal=moved, briefing=draft.briefing.model_copy(update={"incumbent": view}))

    def _record_refusal(self, draft: Draft, refusal: gate.Refusal) -> None:
        self._drafter.refuse(draft.briefing, draft.proposal, draft.arm, refusal.code, refusal.detail)

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
        desk.status("started", f"{agent_id} started")
        yield desk
        desk.status("stopped", f"{agent_id} is done")
    finally:
        lock.release()
