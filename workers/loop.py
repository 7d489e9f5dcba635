"""The research loop, one screen: what is owed, a claim on the blackboard, the trial, its record.

    snapshot -> propose -> gate -> claim -> run -> judge -> record

The worker keeps no fact of its own. Whatever it knows it reads from the brain, so that another process can take its
place at any line.
"""

from swarm.errors import StaleSnapshot
from swarm.study.state import Trial
from workers.worker import Desk
from workers.dispatch import BaselineReplicate, Duty, Propose, Replicate


def work(desk: Desk) -> None:
    """Until the study's limits are reached or somebody says stop. Raises SwarmError when it cannot go on."""
    for left_behind in desk.unfinished():
        desk.settle(left_behind)
    while desk.may_start():
        duty = desk.next_duty()
        if duty is None:
            return
        try:
            trial = claim(desk, duty)
        except StaleSnapshot:
            continue  # the other worker was quicker: look again
        if trial is not None:
            desk.prepare_next()
            desk.run(trial)


def claim(desk: Desk, duty: Duty) -> Trial | None:
    """A trial of what is owed; None when no proposal came of it."""
    match duty:
        case BaselineReplicate():
            return desk.claim_baseline()
        case Replicate(program=program):
            return desk.claim_replicate(program)
        case Propose():
            return desk.claim_proposal(duty)
