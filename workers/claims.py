"""Claims: a trial begins to exist by compare-and-append, so that "read before proposing" is true and not hoped for.

Each builder runs under the brain's lock, on a state that nobody else can change. It raises StaleSnapshot when the study
has changed since the decision, and then nothing is written.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from swarm import gate
from swarm.errors import StaleSnapshot
from swarm.program.families import family_of
from swarm.records import MAX_DESCRIPTION, FailReason, Operator, Proposal, ProposalClaimed
from swarm.sharing.publishing import ARM, SHARE_CODE, within_share
from swarm.study.settings import RunSettings
from swarm.study.state import BrainState, StudyState
from swarm.verdict import finals, replicates_owed
from workers.briefing import Briefing
from workers.dispatch import unclaimed_baselines
from workers.session import search_is_open


class Refused(Exception):
    """The gate said no to a proposal that was fine when it was made."""

    def __init__(self, refusal: gate.Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


@dataclass(frozen=True)
class Draft:
    """A proposal that has passed the gate once, with what it was made on.

    `follows` is the incumbent that it builds on, and None when it builds on another lineage.
    """

    proposal: Proposal
    briefing: Briefing
    arm: str
    follows: str | None


def baseline_claim(state: BrainState, settings: RunSettings, agent_id: str, source: str) -> ProposalClaimed:
    """Another run of the unchanged program, for the noise floor."""
    study = study_with_room(state, settings)
    missing = unclaimed_baselines(study)
    if missing <= 0:
        raise StaleSnapshot("the noise floor has all its trials")
    all_runs = study.opened.noise_replicates
    trial_id = study.next_trial_id
    return ProposalClaimed(
        agent_id=agent_id,
        study_id=study.study_id,
        description=f"baseline, run {all_runs - missing + 1} of {all_runs}",
        trial_id=trial_id,
        operator=Operator.BASELINE,
        family="baseline",
        parent=None,
        program=study.baseline.name if study.baseline else trial_id,
        tree_sha256=gate.tree_sha256(source),
        source_lines=len(source.splitlines()),
        seed=trial_seed(settings.seed, trial_id),
        read_seq=state.seq,
        proposer="baseline",
        arm="baseline",
    )


def replicate_claim(state: BrainState, settings: RunSettings, agent_id: str, name: str) -> ProposalClaimed:
    """The same program again on a fresh seed, if that is still owed."""
    study = study_with_room(state, settings)
    if name not in replicates_owed(study):
        raise StaleSnapshot(f"no run of {name} is owed any more")
    return _again(study, state.seq, settings, agent_id, name, "replicate of")


def finals_claim(state: BrainState, settings: RunSettings, agent_id: str, run: finals.Run) -> ProposalClaimed:
    """A run of the finals on a fresh seed, if they still owe it."""
    study = state.study(settings.study_id)
    opened = finals.open_finals(study) if study is not None else None
    if study is None or opened is None or run not in finals.where(study, opened).owed:
        raise StaleSnapshot(f"round {run.round} of the finals owes no run of {run.program} any more")
    claim = _again(study, state.seq, settings, agent_id, run.program, f"finals, round {run.round}, of")
    return claim.model_copy(update={"finals": opened.number, "finals_round": run.round})


def _again(study: StudyState, seq: int, settings: RunSettings, agent_id: str, name: str, what: str) -> ProposalClaimed:
    """The claim of a program's first trial, made anew for another run of it."""
    first, trial_id = study.programs[name].first.claim, study.next_trial_id
    return first.model_copy(
        update={
            "agent_id": agent_id,
            "description": f"{what} {name}: {first.description}"[:MAX_DESCRIPTION],
            "trial_id": trial_id,
            "operator": Operator.REPLICATE,
            "seed": trial_seed(settings.seed, trial_id),
            "read_seq": seq,
            "briefing_sha256": None,
            "briefing_tokens": None,
            "cites": (),
            "repairs": None,
            "memory": "",
            "nearest": (),
            "expects": None,
            "proposer": "verify",
            "arm": "verify",
            "usage": None,
            "warnings": (),
            "seq": 0,
            "id": "",
        }
    )


def proposal_claim(
    state: BrainState, settings: RunSettings, agent_id: str, draft: Draft, parent_source: str
) -> ProposalClaimed:
    """A new program. Raises StaleSnapshot when it follows a program that is not the incumbent any more, Refused when
    the gate says no to it now."""
    study = study_with_room(state, settings)
    proposal, briefing = draft.proposal, draft.briefing
    incumbent = study.incumbent
    if incumbent is not None and draft.follows not in (None, incumbent.name):
        raise StaleSnapshot(f"the incumbent is {incumbent.name} now and was {draft.follows}")
    if draft.arm.startswith(ARM) and not within_share(study, draft.arm):
        raise Refused(gate.Refusal(SHARE_CODE, f"{draft.arm} has had its tenth of the trials: it may come later"))
    passed = check(study, proposal, parent_source)
    trial_id = study.next_trial_id
    return ProposalClaimed(
        agent_id=agent_id,
        study_id=study.study_id,
        description=proposal.description,
        trial_id=trial_id,
        operator=proposal.operator,
        family=proposal.family,
        parent=proposal.parent,
        program=trial_id,
        parent_tree_sha256=study.programs[proposal.parent].first.claim.tree_sha256,
        tree_sha256=passed.tree_sha256,
        constants_changed=passed.constants_changed,
        lines_added=passed.lines_added,
        lines_removed=passed.lines_removed,
        source_lines=len(proposal.source.splitlines()),
        seed=trial_seed(settings.seed, trial_id),
        read_seq=briefing.read_seq,
        briefing_sha256=briefing.sha256,
        briefing_tokens=proposal.briefing_tokens,
        cites=proposal.cites,
        merged=proposal.merged,
        repairs=proposal.repairs,
        made_on=proposal.made_on,
        changed_under=proposal.changed_under,
        nearest=related(proposal, briefing),
        memory=briefing.lot or "",
        expects=proposal.expects,
        proposer=proposal.proposer,
        arm=draft.arm,
        usage=proposal.usage,
        warnings=passed.warnings,
    )


def check(study: StudyState, proposal: Proposal, parent_source: str) -> gate.Passed:
    """The gate against everything that the study has claimed so far, and a person's vetoes. Raises Refused."""
    answer = gate.check(proposal.source, parent_source, tried(study), study.opened.terms)
    if isinstance(answer, gate.Refusal):
        raise Refused(answer)
    touched = {proposal.family, *map(family_of, answer.constants_changed)}
    if vetoed := sorted(touched & study.vetoes.keys()):
        detail = f"a person has vetoed changes of {', '.join(vetoed)}: propose one of another family"
        raise Refused(gate.Refusal("vetoed", detail))
    return answer


def tried(study: StudyState) -> list[gate.Tried]:
    """Every program of the study, once. One that was given up before it ran may be proposed again."""
    return [
        gate.Tried(
            trial_id=program.name,
            tree_sha256=program.first.claim.tree_sha256,
            parent_tree_sha256=program.first.claim.parent_tree_sha256,
            constants_changed=program.first.claim.constants_changed,
            state=program.first.state,
        )
        for program in study.programs.values()
        if program.first.reason is not FailReason.ABANDONED
    ]


def missing_citation(proposal: Proposal, briefing: Briefing) -> str | None:
    """Why the proposal's citations do not do, or None. What was not in the briefing cannot have been read in it."""
    known = {attempt.trial_id for attempt in briefing.attempts} | set(briefing.nearest)
    known |= {briefing.incumbent.trial_id} | {view.trial_id for view in briefing.alternatives}
    invented = [name for name in proposal.cites if name not in known]
    if invented:
        return f"it cites {', '.join(invented)}, which the briefing does not name; cite from {_some(sorted(known))}"
    if (read := related(proposal, briefing)) and not proposal.cites:
        return f"it cites nothing, and related trials exist: cite those it builds on, such as {_some(read)}"
    return None


def related(proposal: Proposal, briefing: Briefing) -> tuple[str, ...]:
    """The related records that the proposal's author has read; a model's prompt may have had no room for all."""
    if proposal.shown is None:
        return briefing.nearest
    return tuple(name for name in briefing.nearest if name in proposal.shown)


def study_with_room(state: BrainState, settings: RunSettings) -> StudyState:
    """The study, if its search may have one more trial. Raises StaleSnapshot."""
    study = state.study(settings.study_id)
    if study is None:
        raise StaleSnapshot(f"study {settings.study_id} is not in the brain")
    if not search_is_open(study, settings):
        raise StaleSnapshot(
            f"the search has had its trials; the study has {len(study.trials)} of {study.limits.trials}"
        )
    return study


def trial_seed(study_seed: int, trial_id: str) -> int:
    """A fresh seed for each trial, the same in each repetition of the study."""
    return int.from_bytes(hashlib.sha256(f"{study_seed}/{trial_id}".encode()).digest()[:4], "big")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) or "none"
