"""Which memory a model's next proposal gets, by lot: only so is it seen whether the shared memory helps."""

import random

from swarm.study.settings import Memory, RunSettings
from workers.dispatch import Propose
from workers.dispatch.assignments import is_model


def drawn(settings: RunSettings, assignment: Propose) -> Memory | None:
    """Shared for most; shuffled and off for half of the study's share each. None where no lot is drawn.

    None for arms that answer at once, for the repair of a crash and for a conflict, which are about one record, and
    where the study's memory is not the shared one or its share is 0. The same for every turn of a proposal.
    """
    share = settings.memory_lot
    if settings.memory != "shared" or share <= 0 or not is_model(assignment.arm):
        return None
    if assignment.repair is not None or assignment.conflict is not None:
        return None
    ticket = random.Random(f"memory/{assignment.seed}").random()
    if ticket >= share:
        return "shared"
    return "shuffled" if ticket < share / 2 else "off"
