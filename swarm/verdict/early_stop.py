"""May this trial still become the incumbent? Looks at 25 % and 50 % of the budget, on the study's own curves. Pure.

Once eight trials of the study have run to their end, their final costs are regressed on their losses at the rung, and a
trial that would beat the incumbent's mean with a probability under 5 % may be ended. Baselines and replicates never
are: their means must not be a choice of the good runs. A tenth of the trials that could be ended goes on as an audit,
picked by a hash and so beyond anybody's influence, and `false_prune_rate` says what ending them would have cost.

Not promised: eight curves of one and the same program say nothing about a rung loss far from theirs, so such a trial
goes on (divergence is the harness's business, and at once). And the regression learns from trials that were allowed to
finish, so it knows hopeless ones from the audit and from the time before the first look only.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from swarm.records import Operator, TrialState
from swarm.study.state import StudyState, Trial
from swarm.study.trajectory import incumbent_before
from swarm.verdict import student_tail, study_noise

RUNGS = (0.25, 0.5)
FULL_TRIALS = 8
HOPELESS = 0.05
AUDIT_ONE_IN = 10
SLOW_STARTERS = frozenset({"schedule", "batch", "averaging", "augmentation", "regularisation", "loss"})
"""Families whose curves cross the others': they look worse early and end better. Exempt at the first rung."""

_NEVER_ENDED = frozenset({Operator.BASELINE, Operator.REPLICATE})


@dataclass(frozen=True, slots=True)
class Look:
    """What to do with a trial at a rung. `audit` means: go on, and mark the trial as one that would have been ended."""

    action: Literal["go_on", "audit", "stop"]
    probability: float | None
    why: str


@dataclass(frozen=True, slots=True)
class FalsePrunes:
    """Audited trials that would have been ended, and how many of them beat the incumbent of their time after all."""

    audited: int
    wrong: int
    pruned: int

    @property
    def rate(self) -> float | None:
        return self.wrong / self.audited if self.audited else None


def look(study: StudyState, trial_id: str, progress: float, rung_loss: float) -> Look:
    """Judge a running trial by its loss on the rung slice. `progress` is one of RUNGS.

    Raises KeyError when the trial is not in the study.
    """
    trial, incumbent = study.trials[trial_id], study.incumbent
    if trial.claim.operator in _NEVER_ENDED:
        return Look("go_on", None, f"a {trial.claim.operator.value} always runs to its end")
    if progress < RUNGS[1] and is_slow_starter(trial.claim.family):
        return Look("go_on", None, f"family {trial.claim.family} may start slowly; not judged before {RUNGS[1]:.0%}")
    finished = finished_curves(study, progress)
    if len(finished) < FULL_TRIALS or incumbent is None or incumbent.mean is None:
        return Look("go_on", None, f"{len(finished)} full trials with this rung, {FULL_TRIALS} needed")
    noise = study_noise(study)
    chance = probability_below(finished, rung_loss, incumbent.mean, least_sd=noise.sigma if noise is not None else 0.0)
    odds = f"P(better than {study.objective.text(incumbent.mean)}) is {chance:.3f} at {progress:.0%}"
    if chance >= HOPELESS:
        return Look("go_on", chance, odds)
    if is_audited(study.study_id, trial_id):
        return Look("audit", chance, f"{odds}; goes on as a check of early stopping")
    return Look("stop", chance, odds)


def probability_below(
    finished: Sequence[tuple[float, float]], rung_loss: float, limit: float, *, least_sd: float = 0.0
) -> float:
    """P(final cost < limit) of a new trial, from (rung loss, final cost) of at least three finished ones.

    Least squares with Student's t prediction interval on n - 2 degrees of freedom (Draper and Smith, Applied Regression
    Analysis, 3rd ed., section 3.1). `least_sd` bounds the residual deviation from below: no curve foretells the noise.
    """
    rungs, finals = [r for r, _ in finished], [f for _, f in finished]
    count, middle, mean = len(finished), fmean(rungs), fmean(finals)
    spread = sum((r - middle) ** 2 for r in rungs)
    slope = sum((r - middle) * (f - mean) for r, f in finished) / spread if spread > 0 else 0.0
    squares = sum((f - mean - slope * (r - middle)) ** 2 for r, f in finished)
    residual = max(math.sqrt(squares / (count - 2)), least_sd)
    leverage = (rung_loss - middle) ** 2 / spread if spread > 0 else 0.0
    expected = mean + slope * (rung_loss - middle)
    error = residual * math.sqrt(1 + 1 / count + leverage)
    if error == 0.0:
        return 1.0 if expected < limit else 0.0
    return student_tail((expected - limit) / error, count - 2)


def finished_curves(study: StudyState, progress: float) -> list[tuple[float, float]]:
    """(loss at the rung, final cost) of every complete trial that has this rung."""
    return [
        (loss, trial.cost)
        for trial in study.trials.values()
        if trial.state is TrialState.COMPLETE and trial.cost is not None and trial.finished is not None
        for at, loss in trial.finished.rungs
        if math.isclose(at, progress, abs_tol=0.02)
    ]


def is_slow_starter(family: str) -> bool:
    return family.lower() in SLOW_STARTERS


def is_audited(study_id: str, trial_id: str) -> bool:
    """One in ten, fixed by the names alone: nobody can choose it, and a resumed study chooses the same."""
    value = hashlib.sha256(f"audit:{study_id}:{trial_id}".encode()).digest()
    return int.from_bytes(value[:8], "big") % AUDIT_ONE_IN == 0


def false_prune_rate(study: StudyState) -> FalsePrunes:
    """Measured on the audit. A trial was wrongly marked when its one run ended below the incumbent of its time."""
    audited = [trial for trial in study.trials.values() if trial.finished is not None and trial.finished.audit]
    scored = [trial for trial in audited if trial.cost is not None]
    pruned = sum(trial.reason == "pruned" for trial in study.trials.values())
    return FalsePrunes(len(scored), sum(_beat_its_incumbent(study, trial) for trial in scored), pruned)


def _beat_its_incumbent(study: StudyState, trial: Trial) -> bool:
    assert trial.finished is not None and trial.cost is not None
    incumbent = incumbent_before(study, trial.finished.seq)
    return incumbent is not None and trial.cost < incumbent.mean
