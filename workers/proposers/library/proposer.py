"""Chooses an edit: a family by Thompson sampling, then its first edit that was not tried."""

import random
from collections.abc import Sequence
from statistics import fmean

from swarm.program.families import FAMILIES
from swarm.records import Operator, Proposal
from workers.briefing import Attempt, Briefing
from workers.proposers import ProposalFailed
from workers.proposers.evidence import cites_without_kin, turn_seed
from workers.proposers.library.edit import Edit
from workers.proposers.library.network import NETWORK_EDITS
from workers.proposers.library.program import DoesNotApply
from workers.proposers.library.recipes import RECIPE_EDITS
from workers.proposers.library.training import TRAINING_EDITS

EDITS: tuple[Edit, ...] = (*TRAINING_EDITS, *NETWORK_EDITS, *RECIPE_EDITS)

PRIOR_WINS, PRIOR_LOSSES = 1, 3
PREFERENCE = 0.02  # a place in the order of families is worth this much of the drawn probability
NAMED = 2.0  # a family that the diagnosis names


class LibraryProposer:
    """Structural edits from a list, without a language model."""

    def __init__(self, edits: Sequence[Edit] = EDITS) -> None:
        self._edits = tuple(edits)

    @property
    def name(self) -> str:
        return "library"

    def propose(self, briefing: Briefing) -> Proposal:
        """Raises ProposalFailed `library_exhausted` when no edit is left that applies and was not tried."""
        rng = random.Random(turn_seed(briefing))
        draws = {family: _draw(rng, briefing, family) for family in sorted({edit.family for edit in self._edits})}
        for edits in (self._untried_anywhere(briefing), self._untried_here(briefing)):
            for edit in sorted(edits, key=lambda edit: -draws[edit.family]):  # stable: in the library's order within
                if (proposal := self._try(edit, briefing)) is not None:
                    return proposal
        raise ProposalFailed("library_exhausted", "no edit is left that applies to the program and was not tried")

    def _untried_anywhere(self, briefing: Briefing) -> list[Edit]:
        tried = {attempt.description for attempt in briefing.attempts}
        return [e for e in self._edits if e.description not in tried and e.family not in briefing.cooled_families]

    def _untried_here(self, briefing: Briefing) -> list[Edit]:
        """Edits that were not tried on this very program; cooled families too, since there is nothing else."""
        tried = {a.description for a in briefing.attempts if a.parent == briefing.incumbent.trial_id}
        return [edit for edit in self._edits if edit.description not in tried]

    def _try(self, edit: Edit, briefing: Briefing) -> Proposal | None:
        try:
            source = edit.apply(briefing.incumbent.source)
        except DoesNotApply:
            return None
        family = [attempt for attempt in briefing.attempts if attempt.family == edit.family]
        effects = [attempt.delta for attempt in family if attempt.delta is not None]
        return Proposal(
            operator=Operator.STRUCTURAL,
            family=edit.family,
            description=edit.description,
            parent=briefing.incumbent.trial_id,
            source=source,
            cites=_cites(briefing, family),
            expects=round(fmean(effects), 5) if effects else None,
            proposer=self.name,
        )


def _draw(rng: random.Random, briefing: Briefing, family: str) -> float:
    """A draw of the family's chance to help: Beta(1 + wins, 3 + losses), with a small prior for its place in the list.

    Wins are programs that lead or were kept, whoever proposed them; everything else that has ended is a loss.
    """
    ended = [a for a in briefing.attempts if a.family == family and not a.running]
    wins = sum(attempt.helped for attempt in ended)
    chance = rng.betavariate(PRIOR_WINS + wins, PRIOR_LOSSES + len(ended) - wins)
    place = FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)
    named = briefing.diagnosis is not None and family in briefing.diagnosis
    return (chance + PREFERENCE * (len(FAMILIES) - place)) * (NAMED if named else 1.0)


def _cites(briefing: Briefing, family: Sequence[Attempt]) -> tuple[str, ...]:
    """The best and the worst of the family, else what lies nearest to the program."""
    judged = sorted((a for a in family if a.delta is not None), key=lambda attempt: attempt.delta or 0.0)
    related = tuple(attempt.trial_id for attempt in (*judged[:1], *judged[1:][-1:]))
    return related or cites_without_kin(briefing)
