"""Two good changes in one program: the proposal that a merge makes. No arm thinks of it, every worker may make it."""

from typing import NamedTuple

from swarm.program.shift import changed_under
from swarm.records import MAX_DESCRIPTION, Operator, Proposal
from swarm.study.state import StudyState
from swarm.verdict.merges import Merge

MERGING_ARM = "recombine"


class Texts(NamedTuple):
    """Sources of the three programs of a merge."""

    base: str
    ours: str
    theirs: str


def combined(study: StudyState, merge: Merge, texts: Texts) -> Proposal:
    """The merge as a proposal, with the text of `theirs` until the two are merged."""
    change = study.programs[merge.theirs]
    claim, verdict = change.first.claim, change.verdict
    return Proposal(
        operator=Operator.RECOMBINE,
        family=claim.family,
        description=f"combine {merge.ours} with {merge.theirs}: {claim.description}"[:MAX_DESCRIPTION],
        parent=merge.ours,
        source=texts.theirs,
        cites=merge.pair,
        expects=verdict.delta if verdict is not None else None,
        proposer="merge",
        merged=merge.pair,
        made_on=merge.base,
        changed_under=changed_under(texts.base, texts.theirs, texts.ours),
    )
