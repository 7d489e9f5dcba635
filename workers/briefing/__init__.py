"""What a worker is told: computed state of bounded size, never the raw log.

The values here are plain and frozen, so that a proposer is a function of its briefing and a test can write one by hand.
`Briefing.sha256` goes into the proposal's record: the receipt that this very state was read.

`compute_briefing` folds a study into one briefing. It reads no file and no clock; sources come through a function. The
memory arms are here too, because what a worker may know is decided where it is told:

    shared    every worker's attempts
    own       this worker's attempts only
    off       the incumbent and nothing else
    shuffled  the attempts of `shared`, each with the result of another one: the right form without the knowledge
"""

from workers.briefing.compute import compute_briefing
from workers.briefing.values import Attempt, Briefing, Memory, ProgramView

__all__ = ["Attempt", "Briefing", "Memory", "ProgramView", "compute_briefing"]
