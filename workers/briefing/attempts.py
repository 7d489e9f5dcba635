"""The attempts of a study, as far as a memory arm knows them."""

import random

from swarm.program import constants
from swarm.records import ProposalClaimed, Scalar
from swarm.study.lineage import parent_of
from swarm.study.state import Program, StudyState
from swarm.verdict.standing import WITHOUT_RESULT, standing
from workers.briefing.told import failure_of
from workers.briefing.values import Attempt, Memory


def all_attempts(study: StudyState, base_source: str) -> list[Attempt]:
    """All programs but the baseline. Their constants follow from the claims: a child has its parent's and its changes.

    That spares one read of git for each attempt.
    """
    base = {name: constant.value for name, constant in constants.parse(base_source).items()}
    values: dict[str, dict[str, Scalar]] = {}
    attempts = []
    for program in study.programs.values():
        parent = parent_of(study, program)
        claim = program.first.claim
        values[program.name] = _changed(values[parent.name], claim) if parent and parent.name in values else base
        if parent is not None:
            attempts.append(_attempt(study, program, parent, values[program.name]))
    return attempts


def _attempt(study: StudyState, program: Program, parent: Program, values: dict[str, Scalar]) -> Attempt:
    claim = program.first.claim
    word = standing(study, program)
    reasons = [trial.reason for trial in program.trials if trial.reason is not None]
    known = program.mean is not None and parent.mean is not None
    return Attempt(
        trial_id=program.name,
        agent_id=claim.agent_id,
        operator=claim.operator,
        family=claim.family,
        description=claim.description,
        parent=parent.name,
        parent_cost=parent.mean,
        constants=values,
        changed=claim.constants_changed,
        cost=program.mean,
        replicates=len(program.costs),
        delta=program.mean - parent.mean if known else None,  # type: ignore[operator]
        standing=word,
        reason=reasons[-1].value if reasons and word in WITHOUT_RESULT else None,
        failure=failure_of(program) if word in WITHOUT_RESULT else "",
        peak_mib=peak_mib(program),
    )


def remembered(attempts: list[Attempt], memory: Memory, agent_id: str, seed: int) -> tuple[Attempt, ...]:
    if memory == "off":
        return ()
    if memory == "own":
        return tuple(attempt for attempt in attempts if attempt.agent_id == agent_id)
    return tuple(_shuffled(attempts, seed) if memory == "shuffled" else attempts)


_RESULT = ("parent_cost", "cost", "delta", "replicates", "standing", "reason", "failure", "peak_mib")


def _shuffled(attempts: list[Attempt], seed: int) -> list[Attempt]:
    """Each finished attempt gets the whole result of another one; with one alone there is nothing to exchange.

    Seeded by the study, so that two briefings on the same brain agree.
    """
    finished = [index for index, attempt in enumerate(attempts) if not attempt.running]
    order = random.Random(seed).sample(finished, len(finished))
    shuffled = list(attempts)
    for to, source in zip(order, order[1:] + order[:1], strict=True):  # one cycle: none keeps its own
        result = {name: getattr(attempts[source], name) for name in _RESULT}
        shuffled[to] = attempts[to].model_copy(update=result)
    return shuffled


def _changed(values: dict[str, Scalar], claim: ProposalClaimed) -> dict[str, Scalar]:
    child = dict(values)
    for name, (_, new) in claim.constants_changed.items():
        if new is None:
            child.pop(name, None)
        else:
            child[name] = new
    return child


def peak_mib(program: Program) -> int | None:
    peaks = [
        trial.finished.resources.peak_mib
        for trial in program.trials
        if trial.finished and trial.finished.resources and trial.finished.resources.peak_mib is not None
    ]
    return max(peaks, default=None)
