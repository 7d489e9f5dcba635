"""What a briefing tells of how programs ran, and of their changes as text."""

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from swarm.records import FailReason, TrialFinished
from swarm.study.lineage import commit_of, diff, parent_of
from swarm.study.state import Program, StudyState
from workers.briefing.values import Facts, Shown

MAX_DIFFS = 3
MAX_DIFF_LINES = 40
CURVE_AT = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
SAYS_NO_MORE = frozenset({FailReason.PRUNED, FailReason.ABANDONED, FailReason.TIMEOUT, FailReason.INFEASIBLE})


def facts_of(program: Program) -> Facts:
    """Of a program's last run with a score; empty without one."""
    runs = [trial.finished for trial in program.trials if trial.finished is not None and trial.finished.score]
    if not runs:
        return Facts()
    last, used = runs[-1], runs[-1].resources
    scores = [run.score for run in runs if run.score is not None]
    return Facts(
        top1=_mean([score.top1 for score in scores]),
        calibrated_loss=_mean([score.calibrated_loss for score in scores]),
        steps=used.steps if used else None,
        samples=used.samples if used else None,
        images_per_s=used.solo_rate if used else None,
        wall_s=used.wall_s if used else None,
        params_m=used.params_m if used else None,
        compilation=used.compilation if used else None,
        curve=tuple(_points(last)),
        rungs=last.rungs,
    )


def failure_of(program: Program) -> str:
    """The words of its last failed run, where they say more than the reason."""
    ends = [trial.finished for trial in program.trials if trial.finished is not None]
    failed = [end for end in ends if end.reason is not None and end.reason not in SAYS_NO_MORE]
    return failed[-1].detail if failed else ""


def shown(study: StudyState, name: str, source: Callable[[Program], str]) -> Shown | None:
    """A program's change against its parent; None for the baseline, and for one that was never committed."""
    program = study.programs.get(name)
    parent = parent_of(study, program) if program is not None else None
    if program is None or parent is None or commit_of(study, program) is None:
        return None
    return Shown(trial_id=name, diff=short_diff(source(parent), source(program)))


def short_diff(before: str, after: str) -> str:
    """The hunks alone, with one line around each change; the start of a long one."""
    lines = diff(before, after, "x").splitlines()[2:]
    kept = [line for line in lines if not line.startswith("\\")]
    if len(kept) <= MAX_DIFF_LINES:
        return "\n".join(kept)
    return "\n".join([*kept[:MAX_DIFF_LINES], f"({len(kept) - MAX_DIFF_LINES} more lines)"])


def _points(run: TrialFinished) -> Iterator[tuple[float, float]]:
    """Some points of a training curve: those nearest to fixed shares of the budget."""
    curve: Sequence[tuple[float, float]] = run.curve
    seen: set[float] = set()
    for share in CURVE_AT if curve else ():
        progress, loss = min(curve, key=lambda point: abs(point[0] - share))
        if progress not in seen:
            seen.add(progress)
            yield progress, loss


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return fmean(known) if known else None
