"""The research loop, one screen: what is owed, a claim on the blackboard, the trial, its record.

    snapshot -> propose -> gate -> claim -> run -> judge -> record

The worker keeps no fact of its own. Whatever it knows it reads from the brain, so that another process can take over
at any line.
"""

from swarm.errors import StaleSnapshot
from swarm.study.state import Trial
from workers.dispatch import Assignment, BaselineReplicate, Propose, Replicate
from workers.worker import Worker


def work(worker: Worker) -> None:
    """Until the study's limits are reached or somebody says stop. Raises SwarmError when it cannot go on."""
    for trial in worker.unfinished():
        worker.settle(trial)
    while worker.may_start():
        assignment = worker.next_assignment()
        if assignment is None:
            return
        try:
            claimed = claim(worker, assignment)
        except StaleSnapshot:
            continue  # another worker was quicker: look again
        if claimed is not None:
            worker.prepare_next()
            worker.run(claimed)


def claim(worker: Worker, assignment: Assignment) -> Trial | None:
    """The trial that the assignment asks for; None when no proposal came of it."""
    match assignment:
        case BaselineReplicate():
            return worker.claim_baseline()
        case Replicate(program=program):
            return worker.claim_replicate(program)
        case Propose():
            return worker.claim_proposal(assignment)
