"""Programs of a model that crashed in their own code: each goes back to its author once."""

from collections.abc import Sequence

from swarm.records import FailReason
from swarm.study.state import Program, StudyState
from swarm.verdict.plateau import proposals
from workers.dispatch.assignments import is_model

IN_ITS_OWN_CODE = frozenset({FailReason.CRASHED, FailReason.INVALID_OUTPUT})
STILL_IN_MIND = 3  # of a worker's own proposals: an older crash is past


def to_mend(study: StudyState, agent_id: str, arms: Sequence[str]) -> str | None:
    """The newest of this worker's last proposals that crashed, was made by one of these arms, and was not sent back
    yet. Its parent has a result to compare with. A repair that crashes is not mended again."""
    own = [program for program in proposals(study) if program.first.claim.agent_id == agent_id][-STILL_IN_MIND:]
    sent_back = {program.first.claim.repairs for program in proposals(study)} | {r.repairs for r in study.rejections}
    for program in reversed(own):
        claim = program.first.claim
        mine = is_model(claim.arm) and claim.arm in arms and claim.repairs is None
        if mine and crashed(program) and program.name not in sent_back and _has_parent(study, program):
            return program.name
    return None


def crashed(program: Program) -> bool:
    ends = [trial.finished for trial in program.trials]
    return not program.costs and all(end is not None and end.reason in IN_ITS_OWN_CODE for end in ends)


def _has_parent(study: StudyState, program: Program) -> bool:
    return program.parent is not None and bool(study.program_of(program.parent).costs)
