"""What earlier studies of the same target found, for a sampler that starts warm."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from swarm.errors import RepoError, TargetError
from swarm.program import constants
from swarm.records import Operator, Scalar
from swarm.study.lineage import ancestors, commit_of
from swarm.study.state import Program, StudyState
from workers.briefing.values import EarlierResult

MAX_STUDIES = 4  # the latest
MAX_RESULTS = 60  # of each study, the best


def earlier_results(
    study: StudyState, known: Iterable[StudyState], read_source: Callable[[str], str]
) -> tuple[EarlierResult, ...]:
    """Results of the latest studies before this one that measured the same thing: target, objective, data and budget.

    A study whose baseline has no result, or whose text is in no commit of this repository, is left out.
    """
    before = [other for other in known if other.study_id != study.study_id and _is_alike(other, study)]
    found: list[EarlierResult] = []
    for other in before[-MAX_STUDIES:]:
        found += islice(_results(other, read_source), MAX_RESULTS)
    return tuple(found)


def _is_alike(other: StudyState, study: StudyState) -> bool:
    """`objective_sha256` is of objective, budget, data and the editable file."""
    theirs, ours = other.opened, study.opened
    same_thing = theirs.objective_sha256 == ours.objective_sha256 and theirs.objective == ours.objective
    return (
        same_thing
        and (theirs.target, theirs.target_folder) == (ours.target, ours.target_folder)
        and (theirs.data, theirs.budget) == (ours.data, ours.budget)
        and other.opened.seq < study.opened.seq
    )


def _results(study: StudyState, read_source: Callable[[str], str]) -> Iterator[EarlierResult]:
    """The best first."""
    baseline = study.baseline
    commit = commit_of(study, baseline) if baseline is not None else None
    if baseline is None or baseline.mean is None or commit is None:
        return
    try:
        base = {name: constant.value for name, constant in constants.parse(read_source(commit)).items()}
    except (RepoError, TargetError):
        return  # pruned, or the brain of another clone
    scored = [program for program in study.programs.values() if program.mean is not None]
    for program in sorted(scored, key=lambda one: one.mean or 0.0):
        line = [*reversed(ancestors(study, program)), program]
        yield EarlierResult(
            study_id=study.study_id,
            constants=_constants(base, line),
            cost=program.mean or 0.0,
            baseline_cost=baseline.mean,
            replicates=len(program.costs),
            structure=tuple(one.name for one in line if _is_structural(one)),
        )


def _is_structural(program: Program) -> bool:
    return program.first.claim.operator not in (Operator.TUNE, Operator.BASELINE)


def _constants(base: dict[str, Scalar], line: Iterable[Program]) -> dict[str, Scalar]:
    """The baseline's, with the changes of each program of a line after the other."""
    values = dict(base)
    for program in line:
        for name, (_, new) in program.first.claim.constants_changed.items():
            if new is None:
                values.pop(name, None)
            else:
                values[name] = new
    return values
