"""The rule for early stopping that studies had before, for `benchmarks/early_stop.py` to compare with.

At 25 and 50 % of the budget, once eight trials of the study have run to their end, their final losses were regressed on
their losses at the rung; a trial with a chance below 5 % to end below the incumbent's mean was ended, but for a tenth
and, at the first rung, for families that said of themselves that they start slowly.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Literal

from swarm.records import Operator, TrialState
from swarm.study.state import StudyState
from swarm.verdict import student_tail, study_noise
from swarm.verdict.early_stop import is_audited

LANDED_RUNGS = (0.25, 0.5)
_FULL_TRIALS = 8
_HOPELESS = 0.05
_SLOW_STARTERS = frozenset({"schedule", "batch", "averaging", "augmentation", "regularisation", "loss"})


def landed_look(study: StudyState, trial_id: str, progress: float, loss: float) -> Literal["go_on", "audit", "stop"]:
    trial, incumbent = study.trials[trial_id], study.incumbent
    if trial.claim.operator in (Operator.BASELINE, Operator.REPLICATE):
        return "go_on"
    if progress < LANDED_RUNGS[1] and trial.claim.family in _SLOW_STARTERS:
        return "go_on"
    known = finished_curves(study, progress)
    if len(known) < _FULL_TRIALS or incumbent is None or incumbent.mean is None:
        return "go_on"
    noise = study_noise(study)
    if probability_below(known, loss, incumbent.mean, noise.sigma if noise is not None else 0.0) >= _HOPELESS:
        return "go_on"
    return "audit" if is_audited(study.study_id, trial_id) else "stop"


def finished_curves(study: StudyState, progress: float) -> list[tuple[float, float]]:
    """(loss at the rung, final cost) of every complete trial that has this rung."""
    return [
        (loss, trial.cost)
        for trial in study.trials.values()
        if trial.state is TrialState.COMPLETE and trial.cost is not None and trial.finished is not None
        for at, loss in trial.finished.rungs
        if math.isclose(at, progress, abs_tol=0.02)
    ]


def probability_below(known: Sequence[tuple[float, float]], rung_loss: float, limit: float, least_sd: float) -> float:
    """P(final cost < limit), by least squares with Student's t prediction interval on n - 2 degrees of freedom."""
    rungs, finals = [rung for rung, _ in known], [final for _, final in known]
    count, middle, mean = len(known), fmean(rungs), fmean(finals)
    spread = sum((rung - middle) ** 2 for rung in rungs)
    slope = sum((rung - middle) * (final - mean) for rung, final in known) / spread if spread > 0 else 0.0
    squares = sum((final - mean - slope * (rung - middle)) ** 2 for rung, final in known)
    residual = max(math.sqrt(squares / (count - 2)), least_sd)
    leverage = (rung_loss - middle) ** 2 / spread if spread > 0 else 0.0
    expected = mean + slope * (rung_loss - middle)
    error = residual * math.sqrt(1 + 1 / count + leverage)
    if error == 0.0:
        return 1.0 if expected < limit else 0.0
    return student_tail((expected - limit) / error, count - 2)
