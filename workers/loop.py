"""The research loop, one screen: what is owed, a claim on the blackboard, the trial, its record.

    snapshot -> propose -> gate -> claim -> run -> judge -> record

The worker keeps no fact of its own. Whatever it knows it reads from the brain, so that another process can take over
at any line. What goes wrong in a turn, beside the trial that keeps its own failures, is told in the brain and followed
by another turn.
"""

from functools import partial

from swarm.errors import BrainError, Escaped, StaleSnapshot, contained
from swarm.execution.runner import Walkaway
from swarm.study.state import Trial
from swarm.verdict.finals import Run
from swarm.verdict.merges import Merge
from workers.dispatch import Assignment, BaselineReplicate, Propose, Replicate
from workers.worker import Worker


def work(worker: Worker) -> None:
    """Until the study's limits are reached or somebody says stop. Raises SwarmError when it cannot go on."""
    for trial in worker.unfinished():
        settled = contained(partial(worker.settle, trial), passing=(BrainError, Walkaway))
        if isinstance(settled, Escaped):
            worker.stumbled(settled)
    goes_on: bool | Escaped = True
    while goes_on and worker.may_start():
        goes_on = contained(lambda: turn(worker), passing=(BrainError, Walkaway))
        if isinstance(goes_on, Escaped):
            worker.stumbled(goes_on)


def turn(worker: Worker) -> bool:
    """One claim and its trial; False when nothing is owed any more."""
    assignment = worker.next_assignment()
    if assignment is None:
        return False
    try:
        claimed = claim(worker, assignment)
    except StaleSnapshot:
        return True  # another worker was quicker: look again
    if claimed is not None:
        worker.prepare_next()
        worker.run(claimed)
    return True


def claim(worker: Worker, assignment: Assignment) -> Trial | None:
    """The trial that the assignment asks for; None when no proposal came of it."""
    match assignment:
        case BaselineReplicate():
            return worker.claim_baseline()
        case Replicate(program=program):
            return worker.claim_replicate(program)
        case Merge():
            return worker.claim_merge(assignment)
        case Run():
            return worker.claim_finals_run(assignment)
        case Propose():
            return worker.claim_proposal(assignment)
