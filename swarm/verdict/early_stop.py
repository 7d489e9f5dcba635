"""Is this trial hopeless? Looks from half of the budget on, at the trial beside its own parent's rungs. Pure.

A trial is hopeless when it is so far behind its parent at the rung that even a generous end could not reach it: one
that falls BEHIND times further from there than the parent's own runs did. Nothing else counts: no other program's
curve, and nothing that the proposal says of itself. Divergence is the harness's business, which ends it at once.

Baselines, replicates and ablations always run to their end: their means must not be a choice of the good runs. And
nothing is ended before the rule has shown in this study, or in earlier ones of the same objective, that it ends no
good ones: until then a hopeless trial goes on as an *audit*, and so does a tenth afterwards, picked by a hash and so
beyond anybody's influence. `false_prunes` says what ending the audited ones would have cost, with an upper bound.

Not promised: that a program with another kind of curve than its parent's (an average that is handed in at the end)
looks no worse at a rung than it is. What that costs is what the audits are for.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from swarm.records import FailReason, Operator, TrialState
from swarm.study.lineage import parent_of
from swarm.study.state import Program, StudyState
from swarm.study.trajectory import trajectory

RUNGS = (0.5, 0.75)
BEHIND = 2.0
MOST_FALSE = 0.10
AUDIT_ONE_IN = 10
SURE = 0.95

_NEVER_ENDED = frozenset({Operator.BASELINE, Operator.REPLICATE, Operator.ABLATE})
_LOSS_UNITS = ("nats", "bits")  # what the rungs are in: the unit of a sealed target's objective


@dataclass(frozen=True, slots=True)
class Look:
    """What to do with a trial at a rung. `audit`: it is hopeless and goes on all the same, marked as a check.

    `best_end` is the cost that a generous end would have, None where nothing could be said.
    """

    action: Literal["go_on", "audit", "stop"]
    best_end: float | None
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

    @property
    def upper(self) -> float:
        """One-sided 95 % upper bound of the rate; 1 without an audit."""
        return upper_bound(self.wrong, self.audited)

    @property
    def text(self) -> str:
        if not self.audited:
            return "unknown, nothing was audited"
        return f"{self.wrong} of {self.audited} audited, at most {self.upper:.0%} (95 % upper bound)"


def look(
    study: StudyState, trial_id: str, progress: float, rung_loss: float, earlier: Iterable[StudyState] = ()
) -> Look:
    """Judge a running trial by its loss on the rung slice. `earlier` are other studies in the brain: the audits of
    those with the same objective count.

    Raises KeyError when the trial is not in the study.
    """
    seen = outlook(study, trial_id, progress, rung_loss)
    if seen.action != "stop":
        return seen
    shown = pooled(study, earlier)
    if shown.upper > MOST_FALSE:
        return replace(seen, action="audit", why=f"{seen.why}; it goes on, since false prunes are {shown.text}")
    if is_audited(study.study_id, trial_id):
        return replace(seen, action="audit", why=f"{seen.why}; it goes on as a check of early stopping")
    return seen


def outlook(study: StudyState, trial_id: str, progress: float, rung_loss: float) -> Look:
    """Whether the trial is hopeless, which is "stop", whatever the audits say. Raises KeyError as `look`."""
    trial = study.trials[trial_id]
    if trial.claim.operator in _NEVER_ENDED:
        return Look("go_on", None, f"a {trial.claim.operator.value} always runs to its end")
    if study.objective.unit not in _LOSS_UNITS or study.objective.direction != "minimize":
        return Look("go_on", None, f"a rung is a loss, and this study compares the {study.objective.name}")
    parent = parent_of(study, study.program_of(trial_id))
    known = curve(parent, progress) if parent is not None else None
    if parent is None or known is None:
        return Look("go_on", None, f"its parent has no finished run with a rung at {progress:.0%}")
    end = generous_end(rung_loss, *known)
    seen = f"{rung_loss:.4f} at {progress:.0%}, where {parent.name} had {known[0]:.4f} on its way to {known[1]:.4f}"
    if end <= known[1]:
        return Look("go_on", end, seen)
    return Look("stop", end, f"{seen}: with {1 + BEHIND:g} times its fall it would end at {end:.4f}")


def generous_end(rung_loss: float, parent_rung: float, parent_end: float) -> float:
    """Where a trial would end that falls 1 + BEHIND times as far from the rung on as its parent did, in nats.

    A parent that rose after the rung says nothing about a fall: then it is as if it had stood still.
    """
    return rung_loss - (1 + BEHIND) * max(0.0, parent_rung - parent_end)


def curve(program: Program, progress: float) -> tuple[float, float] | None:
    """Mean rung loss at `progress` and mean cost of those finished runs that have this rung; None without one."""
    runs = [
        (loss, trial.cost)
        for trial in program.trials
        if trial.state is TrialState.COMPLETE and trial.cost is not None and trial.finished is not None
        for at, loss in trial.finished.rungs
        if math.isclose(at, progress, abs_tol=0.02)
    ]
    return (fmean(rung for rung, _ in runs), fmean(cost for _, cost in runs)) if runs else None


def is_audited(study_id: str, trial_id: str) -> bool:
    """One in ten, fixed by the names alone: nobody can choose it, and a resumed study chooses the same."""
    value = hashlib.sha256(f"audit:{study_id}:{trial_id}".encode()).digest()
    return int.from_bytes(value[:8], "big") % AUDIT_ONE_IN == 0


def false_prunes(study: StudyState) -> FalsePrunes:
    """Measured on the audit. A trial was wrongly marked when its one run ended below the incumbent of its time."""
    pruned = sum(trial.reason is FailReason.PRUNED for trial in study.trials.values())
    ended = [trial.finished for trial in study.trials.values() if trial.finished is not None and trial.finished.audit]
    scored = [(one, cost) for one in ended if (cost := study.trials[one.trial_id].cost) is not None]
    steps = trajectory(study) if scored else []
    before = [next((step for step in reversed(steps) if step.seq < one.seq), None) for one, _ in scored]
    beat = (step is not None and cost < step.mean for step, (_, cost) in zip(before, scored, strict=True))
    return FalsePrunes(len(scored), sum(beat), pruned)


def pooled(study: StudyState, earlier: Iterable[StudyState] = ()) -> FalsePrunes:
    """`false_prunes` of the study and of all others with the same objective, budget, data and harness."""
    same = study.opened.objective_sha256
    others = [one for one in earlier if one.study_id != study.study_id and one.opened.objective_sha256 == same]
    counts = [false_prunes(one) for one in (study, *others)]
    return FalsePrunes(*(sum(values) for values in zip(*((c.audited, c.wrong, c.pruned) for c in counts), strict=True)))


def upper_bound(wrong: int, audited: int) -> float:
    """One-sided 95 % upper bound of a share (Clopper and Pearson 1934): the share with which so few would be seen in
    one case of twenty. Found by halving."""
    if wrong >= audited:
        return 1.0
    low, high = wrong / audited, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(wrong, audited, middle) > 1 - SURE else (low, middle)
    return high


def _at_most(seen: int, count: int, share: float) -> float:
    return sum(math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(seen + 1))
