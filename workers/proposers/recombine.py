"""Makes one program of two good ones, or leaves one kept edit out to see whether it still matters.

Both are three-way merges of the editable file. A recombination applies what another lineage changed since the common
ancestor to the incumbent. An ablation applies one step of the incumbent's line backwards. Edits that touch the same
lines do not combine: the next candidate is tried.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from swarm.errors import MergeConflict
from swarm.program.families import OTHER
from swarm.program.shift import changed_under
from swarm.records import MAX_DESCRIPTION, Operator, Proposal
from workers.briefing import Attempt, Briefing, ProgramView
from workers.proposers import ProposalFailed

ABLATE_EVERY = 15  # proposals

Merge = Callable[[str, str, str], str]
SourceOf = Callable[[str], str]


def ablation_due(operators: Sequence[str]) -> bool:
    """Whether 15 proposals were made since the last ablation, or since the beginning."""
    since = 0
    for operator in reversed(operators):
        if operator == Operator.ABLATE:
            break
        since += 1
    return since >= ABLATE_EVERY


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A merge to try: `ours` is always the incumbent."""

    operator: Operator
    base: str  # trial ids
    theirs: str
    cites: tuple[str, ...]
    family: str
    description: str
    expects: float | None


class RecombineProposer:
    """Merges lineages; ablates when an ablation is due."""

    def __init__(self, merge: Merge, source_of: SourceOf) -> None:
        """`merge(base, ours, theirs)` raises MergeConflict. `source_of(trial_id)` gives the text of a program of the
        study and raises KeyError when there is none."""
        self._merge = merge
        self._source_of = source_of

    @property
    def name(self) -> str:
        return "recombine"

    def propose(self, briefing: Briefing) -> Proposal:
        """Raises ProposalFailed `nothing_to_combine` when no pair of programs combines into a new one."""
        conflicts = 0
        # After a refusal in the same turn the next best one.
        for candidate in islice(_candidates(briefing), int(briefing.refusal is not None), None):
            try:
                base, theirs = self._source_of(candidate.base), self._source_of(candidate.theirs)
                source = self._merge(base, briefing.incumbent.source, theirs)
            except MergeConflict:
                conflicts += 1
                continue
            except KeyError:
                continue
            if source not in (briefing.incumbent.source, theirs):
                proposal = _proposal(self.name, briefing, candidate, source)
                moved = changed_under(base, theirs, briefing.incumbent.source)
                return proposal.model_copy(update={"made_on": candidate.base, "changed_under": moved})
        raise ProposalFailed("nothing_to_combine", f"no pair of programs combines; {conflicts} touch the same lines")


def _candidates(briefing: Briefing) -> Iterator[_Candidate]:
    """Best first: ablations if one is due, then other lineages."""
    if ablation_due([attempt.operator for attempt in briefing.attempts]):
        yield from _ablations(briefing)
    yield from _recombinations(briefing)


def _recombinations(briefing: Briefing) -> Iterator[_Candidate]:
    attempts = {attempt.trial_id: attempt for attempt in briefing.attempts}
    tried = _descriptions(briefing)
    for view in briefing.alternatives:
        base = _common_ancestor(briefing.incumbent, view)
        if base is None:
            continue
        attempt = attempts.get(view.trial_id)
        text = f"combine {briefing.incumbent.trial_id} with {view.trial_id}: {_said(attempt)}"[:MAX_DESCRIPTION]
        if text in tried:
            continue
        yield _Candidate(
            operator=Operator.RECOMBINE,
            base=base,
            theirs=view.trial_id,
            cites=_known(attempts, view.trial_id, briefing.incumbent.trial_id),
            family=attempt.family if attempt else OTHER,
            description=text,
            expects=attempt.delta if attempt else None,
        )


def _ablations(briefing: Briefing) -> Iterator[_Candidate]:
    """Each step of the incumbent's line backwards, in an order by the seed. The last step would give its parent."""
    attempts = {attempt.trial_id: attempt for attempt in briefing.attempts}
    tried = _descriptions(briefing)
    line = [*briefing.incumbent.lineage, briefing.incumbent.trial_id]
    steps = list(pairwise(line[:-1]))
    random.Random(briefing.seed).shuffle(steps)
    for before, after in steps:
        attempt = attempts.get(after)
        text = f"leave {after} out of {briefing.incumbent.trial_id}: {_said(attempt)}"[:MAX_DESCRIPTION]
        if text in tried:
            continue
        yield _Candidate(
            operator=Operator.ABLATE,
            base=after,
            theirs=before,
            cites=_known(attempts, after, briefing.incumbent.trial_id),
            family=attempt.family if attempt else OTHER,
            description=text,
            expects=-attempt.delta if attempt and attempt.delta is not None else None,
        )


def _common_ancestor(a: ProgramView, b: ProgramView) -> str | None:
    """The youngest program that both were made from; None when one was made from the other."""
    line = [*a.lineage, a.trial_id]
    other = {*b.lineage, b.trial_id}
    if a.trial_id in other or b.trial_id in line:
        return None
    return next((trial_id for trial_id in reversed(line) if trial_id in other), None)


def _descriptions(briefing: Briefing) -> set[str]:
    return {attempt.description for attempt in briefing.attempts}


def _known(attempts: dict[str, Attempt], *trial_ids: str) -> tuple[str, ...]:
    return tuple(trial_id for trial_id in trial_ids if trial_id in attempts)


def _said(attempt: Attempt | None) -> str:
    return attempt.description if attempt is not None else "an earlier change"


def _proposal(proposer: str, briefing: Briefing, candidate: _Candidate, source: str) -> Proposal:
    return Proposal(
        operator=candidate.operator,
        family=candidate.family,
        description=candidate.description,
        parent=briefing.incumbent.trial_id,
        source=source,
        cites=candidate.cites,
        expects=candidate.expects,
        proposer=proposer,
        merged=(briefing.incumbent.trial_id, candidate.theirs) if candidate.operator == Operator.RECOMBINE else (),
    )
