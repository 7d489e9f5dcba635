"""The way from a proposal to a trial: prepared ahead, rebased, checked, claimed, committed.

A language model thinks while a trial trains (`workers.drafts`). By the time its proposal can run, the incumbent may
have moved: the proposal follows it, or is recorded as one that could not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from swarm.errors import MergeConflict, StaleSnapshot
from swarm.program.shift import changed_under
from swarm.repo import Repo, trial_ref
from swarm.study.state import StudyState, Trial
from swarm.verdict.merges import Merge
from workers.arms import Surroundings, build_arms
from workers.background import Background
from workers.claims import Draft, Refused, proposal_claim
from workers.dispatch import Propose, next_proposal, proposals_are_near
from workers.dispatch.assignments import SCRIPTED, is_model
from workers.drafts import Drafter, Sources
from workers.kept_drafts import KeptDraft
from workers.moving import moved
from workers.session import Session

PATIENCE_S = 10.0  # at most, for a language model's answer while the device could already work
PATIENCE_SHARE = 0.05  # of a trial's budget
NOTHING_NEW_PAUSE_S = 2.0  # doubled each time in a row
LONGEST_PAUSE_S = 60.0
DRY_AFTER = 5  # turns in a row, about a minute


class Proposing:
    """The proposals of one worker. `background_session` is for the thread that prepares the next one; `device_mib` is
    the memory of the device, None where it does not say."""

    def __init__(
        self,
        session: Session,
        background_session: Session,
        repo: Repo,
        sources: Sources,
        secrets: Mapping[str, str],
        device_mib: int | None,
    ) -> None:
        self._session = session
        self._repo = repo
        self._sources = sources
        self._device_mib = device_mib
        self._arms = build_arms(
            Surroundings(
                settings=session.settings,
                agent_id=session.agent_id,
                clock=session.clock,
                merge=repo.merge,
                source_of=lambda name: sources.of_program(background_session.study(), name),
                study=background_session.study,
                secrets=secrets,
            )
        )
        self._drafter = Drafter(session, sources, self._arms, device_mib)
        self._background_drafter = Drafter(background_session, sources, self._arms, device_mib)
        folder = session.settings.layout.study(session.settings.study_id) / "drafts"
        self.background = Background(self._background_drafter.draft, KeptDraft(folder / f"{session.agent_id}.json"))
        left = self.background.leftover()
        if left is not None and not self._arms.has(left.arm):  # by an arm that this run does not have
            self.background.used(self.background.take(0.0))
        self._dry_turns = 0  # in a row without anything new from any arm
        self._dry_at = 0  # trials that had ended at the last of them
        self._conflict: str | None = None  # why a model's draft could not follow the incumbent, until it was told

    def arms(self) -> tuple[str, ...]:
        """The arms that the policy may pick now."""
        return self._arms.available()

    def announced(self) -> str:
        """Those arms for the worker's first record."""
        return self._arms.announced()

    def will_wake(self) -> bool:
        """Whether an arm rests that will be there again."""
        return self._arms.will_wake()

    def is_dry(self, study: StudyState) -> bool:
        """Whether no arm has had anything new for DRY_AFTER turns, and nothing has ended since that may change it. A
        model may think of something another time, so that with one there is always more to come."""
        unchanged = self._dry_at == len(study.finished_trials())
        return self._dry_turns >= DRY_AFTER and unchanged and not self._arms.has_models

    @property
    def may_merge(self) -> bool:
        """Whether this worker puts changes together: not one that only replays a script or stays a TPE."""
        return self._arms.has("recombine")

    def claim_merge(self, merge: Merge) -> Trial | None:
        """The trial of two changes in one program; None, recorded, when they do not combine. Raises StaleSnapshot."""
        draft = self._drafter.merge(merge, self._repo.merge)
        return self._claim_draft(draft) if draft is not None else None

    def claim(self, assignment: Propose) -> Trial | None:
        """The trial of a new program, or None when none came of it. Raises StaleSnapshot when the study is full."""
        draft = self._draft(assignment)
        trial = self._claimed(draft)
        self.background.used(draft)
        return trial

    def _claimed(self, draft: Draft | None) -> Trial | None:
        while draft is not None and (rebased := self._on_the_incumbent(draft)) is not None:
            try:
                trial = self._claim_draft(rebased)
            except StaleSnapshot:
                if not self._session.may_search(self._session.study()):
                    self._leave_for_later(draft)
                    raise
                continue  # the incumbent has moved once more
            return trial
        return None

    def prepare(self) -> None:
        """Let a model think about the next proposal while the trial that was just claimed trains.

        It does not matter what else is owed before it. Arms that answer at once are asked when the trial has ended,
        because they know its result then.
        """
        study, arms = self._session.study(), self._arms.available()
        if arms and self._session.may_search(study) and proposals_are_near(study):
            assignment = self._next(study, arms)
            if is_model(assignment.arm):
                self.background.start(self._told(assignment))

    def clear(self) -> None:
        """Record what a draft has cost that nobody will use, finished or not."""
        if (unfinished := self._background_drafter.give_up()) is not None:
            self._drafter.failed(*unfinished)
        draft = self.background.leftover()
        if draft is not None:
            self._leave_for_later(draft)

    def _next(self, study: StudyState, arms: Sequence[str]) -> Propose:
        return next_proposal(study, agent_id=self._session.agent_id, arms=arms, device_mib=self._device_mib)

    def _draft(self, assignment: Propose) -> Draft | None:
        """The prepared draft if there is one; else one by the assignment's arm, or by the arm that the policy would
        have chosen without a model; else by any other arm that answers at once."""
        slow = is_model(assignment.arm)
        if slow:
            self.background.start(self._told(assignment))
        draft = self.background.take(self._patience_s if slow else 0.0)
        ready = self._arms.at_once(first=assignment.arm)
        if slow and draft is None and ready:
            assignment = self._next(self._session.study(), ready)
            ready = self._arms.at_once(first=assignment.arm)
        at_once = iter(ready)
        while draft is None and (arm := next(at_once, None)) is not None:
            draft = self._drafter.draft(replace(assignment, arm=arm))
        if draft is not None:
            self._dry_turns = 0
            return draft
        if assignment.arm != SCRIPTED:  # a script goes on with its next line, and has an end
            self._session.status("cooling", "no arm has a new proposal")
            self._session.clock.sleep(min(LONGEST_PAUSE_S, NOTHING_NEW_PAUSE_S * 2 ** min(self._dry_turns, 30)))
            self._dry_turns += 1
            self._dry_at = len(self._session.study().finished_trials())
        return None

    def _told(self, assignment: Propose) -> Propose:
        """With the conflict that the model's last draft ran into, once."""
        if self.background.busy or self.background.leftover() is not None:
            return assignment
        told, self._conflict = self._conflict, None
        return replace(assignment, told=told)

    @property
    def _patience_s(self) -> float:
        budget = self._session.settings.budget
        return PATIENCE_S if budget.kind == "samples" else min(PATIENCE_S, PATIENCE_SHARE * budget.amount)

    def _on_the_incumbent(self, draft: Draft) -> Draft | None:
        """The draft, rebased if the incumbent has moved since it was made; None, recorded, when the two conflict."""
        study = self._session.study()
        incumbent, proposal = study.incumbent, draft.proposal
        if incumbent is None or draft.follows in (None, incumbent.name):
            return draft
        base = self._sources.of_program(study, draft.follows)
        ours = self._sources.of_program(study, incumbent.name)
        try:
            merged = moved(base, ours, proposal.source, self._repo.merge)
        except MergeConflict as conflict:
            told = f"made on {draft.follows}, and the incumbent is {incumbent.name} now: {conflict}"
            self._refuse(draft, "conflict", told)
            if is_model(draft.arm):
                self._conflict = told
            return None
        rebased = proposal.model_copy(
            update={
                "parent": incumbent.name,
                "source": merged,
                "made_on": proposal.made_on or draft.follows,
                "changed_under": tuple(
                    dict.fromkeys((*proposal.changed_under, *changed_under(base, proposal.source, ours)))
                ),
            }
        )
        return replace(draft, proposal=rebased, follows=incumbent.name)

    def _claim_draft(self, draft: Draft) -> Trial | None:
        """The trial with its commit; None, recorded, when the gate refuses the program now. Raises StaleSnapshot."""
        study, proposal = self._session.study(), draft.proposal
        source = self._sources.of_program(study, proposal.parent)
        try:
            trial = self._session.claim(
                lambda state: proposal_claim(state, self._session.settings, self._session.agent_id, draft, source)
            )
        except Refused as refused:
            refusal = refused.refusal
            self._refuse(draft, refusal.code, refusal.detail, refusal.repeats)
            return None
        parent = self._sources.commit_of(study, proposal.parent)
        message = f"{trial.trial_id}: {proposal.description}\n\n{self._session.agent_id}, {proposal.proposer}"
        ref = trial_ref(self._session.settings.study_id, trial.trial_id)
        self._sources.programs.commit(parent, proposal.source, message, ref)
        return trial

    def _leave_for_later(self, draft: Draft) -> None:
        """Embedded arms propose for nothing; what a model's answer has cost counts, used or not, and the answer waits
        for a study that goes on."""
        if draft.proposal.usage is not None:
            self._refuse(draft, "unused", "the study ended before it could run; it waits for one that goes on")
        if is_model(draft.arm):
            self.background.left_for_later(draft)

    def _refuse(self, draft: Draft, code: str, detail: str, repeats: str | None = None) -> None:
        self._drafter.refuse(draft.briefing, draft.proposal, draft.arm, code, detail, repeats)
