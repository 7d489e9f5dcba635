"""From an assignment to a draft: brief the arm, check its answer, give it one more turn, record what was refused.

A draft may be made while a trial trains, in a thread with a brain of its own, so that the device never waits for a
language model. The study may have changed by the time the draft is claimed; the claim checks it again.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from swarm import verdict
from swarm.errors import MergeConflict, TrialError
from swarm.records import Operator, Proposal, ProposalRejected
from swarm.repo import Repo
from swarm.repo.programs import Programs
from swarm.study.lineage import commit_of
from swarm.study.settings import Memory, RunSettings
from swarm.study.state import Program, StudyState
from swarm.study.usage import total_usage
from swarm.verdict.merges import CONFLICT, Merge
from workers.arms import Arms
from workers.briefing import Briefing, compute_briefing
from workers.claims import Draft, Refused, check, missing_citation
from workers.dispatch import Propose
from workers.dispatch.assignments import is_model
from workers.memory_lot import drawn
from workers.merging import MERGING_ARM, Texts, combined
from workers.proposers import ProposalFailed
from workers.proposers.requests import Asked, Request
from workers.session import Session

TURNS = 2


@dataclass(frozen=True)
class Sources:
    """Program texts by trial, out of git."""

    settings: RunSettings
    repo: Repo

    @property
    def programs(self) -> Programs:
        return Programs.of(self.repo, self.settings)

    def of_commit(self, commit: str) -> str:
        return self.programs.read(commit)

    def of_program(self, study: StudyState, name: str) -> str:
        """The text of a program by its first trial. KeyError when there is no such program."""
        return self.of_commit(self.commit_of(study, name))

    def commit_of(self, study: StudyState, name: str) -> str:
        """Raises TrialError when its author died before the commit."""
        commit = self.known_commit(study, study.programs[name])
        if commit is None:
            raise TrialError(f"program {name} has no commit")
        return commit

    def known_commit(self, study: StudyState, program: Program) -> str | None:
        return commit_of(study, program) or commit_of(study, program, self.repo.refs(study.study_id))


class Drafter:
    """Makes drafts for one worker. One thread at a time may use it."""

    def __init__(self, session: Session, sources: Sources, arms: Arms, memory_limit_mib: int | None) -> None:
        self._session = session
        self._sources = sources
        self._arms = arms
        self._memory_limit_mib = memory_limit_mib
        self._under_way: tuple[Briefing, str] | None = None  # what an arm has been asked and not answered
        self._answering = threading.Lock()

    def draft(self, assignment: Propose) -> Draft | None:
        """A draft by the assignment's arm, or None when its turns are used up. Each refusal and failure is recorded."""
        last = _Last(refusal=assignment.told)
        lot = drawn(self._session.settings, assignment)
        turns = TURNS
        while turns > 0:
            study = self._session.study()
            briefing = self._brief(study, assignment, last, turns, lot)
            self._under_way = briefing, assignment.arm
            answer = self._answer(assignment.arm, briefing)
            with self._answering:
                if self._under_way is None:
                    return None  # given up meanwhile
                self._under_way = None
                if isinstance(answer, Asked) and briefing.may_ask:
                    last = _Last(asked=answer)
                    continue
                turns -= 1
                answer = _with_the_asking(answer, last.asked)
                if isinstance(answer, ProposalFailed):
                    self.failed(briefing, assignment.arm, answer)
                    return None
                answer = _as_asked(answer, assignment)
                refused = self._check(study, briefing, answer, assignment.arm)
            if isinstance(refused, Draft):
                return refused
            last = _Last(refused, answer.source if answer.parent == briefing.incumbent.trial_id else None)
        return None

    def merge(self, merge: Merge, merge_text: Callable[[str, str, str], str]) -> Draft | None:
        """Two programs' changes in one, or None, recorded, when they do not combine. `merge_text(base, ours, theirs)`
        raises MergeConflict."""
        study = self._session.study()
        briefing = self._brief(study, Propose(arm=MERGING_ARM, role="climber", seed=0), _Last(), 1, None)
        texts = Texts(*(self._sources.of_program(study, name) for name in (merge.base, merge.ours, merge.theirs)))
        proposal = combined(study, merge, texts)
        try:
            proposal = proposal.model_copy(update={"source": merge_text(texts.base, texts.ours, texts.theirs)})
        except MergeConflict as conflict:
            self.refuse(briefing, proposal, MERGING_ARM, CONFLICT, str(conflict))
            return None
        try:
            check(study, proposal, texts.ours)
        except Refused as answer:
            refusal = answer.refusal
            self.refuse(briefing, proposal, MERGING_ARM, refusal.code, refusal.detail, refusal.repeats)
            return None
        return Draft(proposal, briefing, MERGING_ARM, follows=merge.ours)

    def give_up(self) -> tuple[Briefing, str, ProposalFailed] | None:
        """Ends the proposal that is being made. Its own thread records nothing of it afterwards; another drafter does,
        with `failed` and what is returned here. None when nothing is being made, or no call was answered. May be
        called from any thread."""
        with self._answering:
            asked, self._under_way = self._under_way, None
            so_far = self._arms.so_far(asked[1]) if asked is not None else None
            if asked is None or so_far is None or so_far.usage is None:
                return None
            return *asked, so_far

    def _answer(self, arm: str, briefing: Briefing) -> "Proposal | ProposalFailed | Asked":
        try:
            return self._arms.propose(arm, briefing)
        except (ProposalFailed, Asked) as other:
            return other

    def _brief(
        self, study: StudyState, assignment: Propose, last: "_Last", turns_left: int, lot: Memory | None
    ) -> Briefing:
        may_ask = is_model(assignment.arm) and last == _Last() and not (assignment.conflict or assignment.repair)
        request = last.asked.request if last.asked is not None else Request()
        noise = verdict.study_noise(study)
        return compute_briefing(
            study,
            agent_id=self._session.agent_id,
            role=assignment.role,
            program_text=self._session.settings.program_text,
            read_source=self._sources.of_commit,
            memory=lot or self._session.settings.memory,
            lot=lot,
            seed=assignment.seed,
            sigma=noise.sigma if noise is not None else None,
            cooled_families=assignment.cooled_families,
            diagnosis=assignment.diagnosis,
            restart=assignment.restart,
            conflict=assignment.conflict,
            memory_limit_mib=self._memory_limit_mib,
            repair=assignment.repair,
            look=request.look,
            jump=request.build_on,
            may_ask=may_ask,
            refusal=last.refusal,
            refused=last.refused,
            attempts_left=turns_left,
            studies=list(self._session.brain.snapshot().studies.values()),
            read_seq=self._session.brain.snapshot().seq,
        )

    def _check(self, study: StudyState, briefing: Briefing, proposal: Proposal, arm: str) -> Draft | str:
        """The draft, or the sentence that the proposer is told on its next turn."""
        if proposal.parent not in study.programs:
            return self.refuse(briefing, proposal, arm, "unknown_parent", f"there is no trial {proposal.parent}")
        if (problem := missing_citation(proposal, briefing)) is not None:
            return self.refuse(briefing, proposal, arm, "no_citation", problem)
        parent_source = self._sources.of_program(study, proposal.parent)
        try:
            check(study, proposal, parent_source)
        except Refused as answer:
            refusal = answer.refusal
            return self.refuse(briefing, proposal, arm, refusal.code, refusal.detail, refusal.repeats)
        on_incumbent = study.incumbent is not None and proposal.parent == study.incumbent.name
        follows = briefing.incumbent.trial_id if briefing.left is None and on_incumbent else None
        return Draft(proposal, briefing, arm, follows)

    def refuse(
        self, briefing: Briefing, proposal: Proposal, arm: str, code: str, detail: str, repeats: str | None = None
    ) -> str:
        """Records the refusal; returns the detail."""
        self._session.brain.append(
            ProposalRejected(
                agent_id=self._session.agent_id,
                study_id=self._session.settings.study_id,
                description=proposal.description,
                code=code,
                detail=detail[:2000],
                operator=proposal.operator,
                family=proposal.family,
                parent=proposal.parent,
                read_seq=briefing.read_seq,
                briefing_sha256=briefing.sha256,
                cites=proposal.cites,
                proposer=proposal.proposer,
                arm=arm,
                usage=proposal.usage,
                repeats=repeats,
                repairs=proposal.repairs,
                merged=proposal.merged,
                memory=briefing.lot or "",
            )
        )
        return detail

    def failed(self, briefing: Briefing, arm: str, failure: ProposalFailed) -> None:
        """Records a call of an arm that gave no proposal."""
        self._session.brain.append(
            ProposalRejected(
                agent_id=self._session.agent_id,
                study_id=self._session.settings.study_id,
                description=f"{arm}: no proposal",
                code=failure.code,
                detail=failure.detail[:2000],
                parent=briefing.incumbent.trial_id,
                read_seq=briefing.read_seq,
                briefing_sha256=briefing.sha256,
                proposer=self._arms.label(arm),
                arm=arm,
                usage=failure.usage,
                repairs=briefing.crash.trial_id if briefing.crash is not None else None,
                merged=briefing.conflict.pair if briefing.conflict is not None else (),
                memory=briefing.lot or "",
            )
        )


@dataclass(frozen=True)
class _Last:
    """What became of a drafter's last turn: why the answer was refused and its text, or what was asked for."""

    refusal: str | None = None
    refused: str | None = None
    asked: Asked | None = None


def _with_the_asking(answer: "Proposal | ProposalFailed | Asked", asked: Asked | None) -> Proposal | ProposalFailed:
    """The answer with what the asking before it has cost. Who asks again has proposed nothing."""
    spent = [asked.usage] if asked is not None and asked.usage is not None else []
    if isinstance(answer, Asked):
        answer = ProposalFailed("llm_failed", f"it asked once more ({answer}) and proposed nothing", usage=answer.usage)
    if not spent:
        return answer
    usage = total_usage([*spent, *([answer.usage] if answer.usage is not None else [])])
    if isinstance(answer, ProposalFailed):
        return ProposalFailed(answer.code, answer.detail, usage=usage, cooldown_s=answer.cooldown_s)
    return answer.model_copy(update={"usage": usage})


def _as_asked(answer: Proposal, assignment: Propose) -> Proposal:
    """An answer to a conflict is the combination that was asked for, one to a crash its repair."""
    if (crashed := assignment.repair) is not None:
        cites = tuple(dict.fromkeys((crashed, *answer.cites)))
        return answer.model_copy(update={"repairs": crashed, "cites": cites})
    if assignment.conflict is None:
        return answer
    return answer.model_copy(update={"operator": Operator.RECOMBINE, "merged": assignment.conflict.pair})
