"""Structural edits by syntax tree, for the programs of `models/` and whatever has the same places.

An edit looks its places up by name (`build_model`, `loss_of`, `main`, the residual block, ...) and is passed over where
they are missing, so it never guesses. What it adds for tuning it declares as a constant with a search space, which the
samplers find from then on. `EDITS` lists them by family in the order in which they are worth trying.
"""

from workers.proposers.library.edit import Edit
from workers.proposers.library.program import DoesNotApply, Program
from workers.proposers.library.proposer import EDITS, LibraryProposer

__all__ = ["EDITS", "DoesNotApply", "Edit", "LibraryProposer", "Program"]
