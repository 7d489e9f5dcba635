"""What is this program now? The one owner of the question: whoever shows or uses a standing asks here. Pure.

A *standing* is a word for a program; the *incumbent* is the program that the workers build on. The two are not the
same: the incumbent's standing is baseline, leading or kept. The words, the first that applies:

    baseline      the unchanged program, whatever its runs gave
    kept          its newest verdict keeps it: confirmed better, or shorter and not worse; it stays kept when another
                  leads
    discarded     its newest verdict discards it
    leading       the newest of the programs that took the lead and were not discarded; a lead, and no claim of a gain
    superseded    it took the lead, was not discarded, and another has taken it since; leads again when that one falls
    inconclusive  judged, and none of the above
    unjudged      it has a result and no verdict: the noise floor is not measured yet
    running       no result yet, and a trial of it is claimed or runs
    pruned        no result, and early stopping ended its last trial
    failed        no result, and its last trial ended in any other way
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from swarm.records import Decision, FailReason, VerdictReached
from swarm.study.state import Program, StudyState, Trial, lineage_after


class Standing(StrEnum):
    BASELINE = "baseline"
    KEPT = "kept"
    DISCARDED = "discarded"
    LEADING = "leading"
    SUPERSEDED = "superseded"
    INCONCLUSIVE = "inconclusive"
    UNJUDGED = "unjudged"
    RUNNING = "running"
    PRUNED = "pruned"
    FAILED = "failed"


GAINS = frozenset({Standing.KEPT, Standing.LEADING, Standing.SUPERSEDED})
"""Of the programs that looked better than what the workers built on, and were not refuted since."""

WITHOUT_RESULT = frozenset({Standing.PRUNED, Standing.FAILED})


@dataclass(frozen=True, slots=True)
class Change:
    """From record `seq` on (epoch seconds `at`) the program had this standing."""

    seq: int
    at: float
    program: str
    standing: Standing
    why: str


def standing(study: StudyState, program: Program) -> Standing:
    if program is study.baseline:
        return Standing.BASELINE
    if program.verdict is not None:
        return _judged(program.verdict, study.lineage)
    if program.costs:
        return Standing.UNJUDGED
    return Standing.RUNNING if program.open_trials else _ended(program.trials[-1])


def standing_of_trial(study: StudyState, trial: Trial) -> Standing:
    """For a mark a trial: how it failed, if it did, else the standing of its program."""
    if trial.reason is not None:
        return _ended(trial)
    return standing(study, study.program_of(trial.trial_id))


def not_to_build_on(study: StudyState, program: Program) -> str | None:
    """A warning for whoever takes a program over that the study does not think well of; None for those it does."""
    now = standing(study, program)
    if now in (Standing.KEPT, Standing.LEADING):
        return None
    ended = program.trials[-1].finished
    failure = f"{ended.reason}: {ended.detail}" if ended is not None and ended.reason is not None else ""
    why = program.verdict.why if program.verdict is not None else failure
    return f"{program.name} is {now}, neither kept nor leading{f' ({why[:200]})' if why else ''}"


def kept(study: StudyState) -> list[Program]:
    return [program for program in study.programs.values() if standing(study, program) is Standing.KEPT]


def in_order(study: StudyState) -> list[Program]:
    """Programs with a result as people want to see them: what is kept, then what leads, then the rest, each by its
    mean. A lucky run of the search never stands above what the finals have kept."""
    first = {Standing.KEPT: 0, Standing.LEADING: 1}
    return sorted(study.ranked(), key=lambda program: first.get(standing(study, program), 2))


def is_simplification(verdict: VerdictReached) -> bool:
    """Kept because it is shorter and not worse; no gain is claimed."""
    return verdict.decision == Decision.KEEP and verdict.level != "confirmed"


def changes(study: StudyState) -> Iterator[Change]:
    """Every standing that a verdict gave, oldest first; the last one of each judged program is its standing now.

    A verdict on one program may change another's: who led is superseded, or leads again when the new leader falls.
    """
    lineage: tuple[str, ...] = ()
    newest: dict[str, VerdictReached] = {}
    for verdict in study.verdicts:
        before, lineage = lineage, lineage_after(lineage, verdict)
        newest[verdict.program] = verdict
        yield Change(verdict.seq, verdict.at, verdict.program, _judged(verdict, lineage), verdict.why)
        if before[-1:] != lineage[-1:]:
            for name in {*before[-1:], *lineage[-1:]} - {verdict.program}:
                now = _judged(newest[name], lineage)
                if now is not _judged(newest[name], before):
                    why = f"{verdict.program} leads." if verdict.leads else f"{verdict.program} was discarded."
                    yield Change(verdict.seq, verdict.at, name, now, why)


def _judged(verdict: VerdictReached, lineage: tuple[str, ...]) -> Standing:
    match verdict.decision:
        case Decision.KEEP:
            return Standing.KEPT
        case Decision.DISCARD:
            return Standing.DISCARDED
        case Decision.INCONCLUSIVE if verdict.program in lineage:
            return Standing.LEADING if verdict.program == lineage[-1] else Standing.SUPERSEDED
        case _:
            return Standing.INCONCLUSIVE


def _ended(trial: Trial) -> Standing:
    return Standing.PRUNED if trial.reason is FailReason.PRUNED else Standing.FAILED
