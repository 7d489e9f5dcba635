"""Second numbers with a limit: does a program keep them, as far as its runs can tell? Pure.

A guard is judged as the objective is: by the mean of a program's runs, with the noise of that number pooled over the
study and shrunk for the program. A number that never varies is exact, and so is one that each run of a program has
exactly at its limit: a share that is whole, a count that is none. So what one program gets wrong now and then puts no
other one in doubt, and one that got it wrong once has a mean beyond the limit and never holds. A program leads or is
kept only where each guard holds with a probability of 0.70, as a lead asks of the objective, and is discarded where one
holds with 0.30 or less.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from swarm.records import Decision, Guard
from swarm.study.state import Program, StudyState
from swarm.verdict.evidence import measure_noise, own_noise

HOLDS, FAILS = 0.70, 0.30


@dataclass(frozen=True, slots=True)
class Judged:
    """One guard of one program. `mean` is None, and `probability` 0, where a run did not give the number."""

    guard: Guard
    mean: float | None
    runs: int
    probability: float

    @property
    def holds(self) -> bool:
        return self.probability >= HOLDS

    @property
    def fails(self) -> bool:
        return self.probability <= FAILS

    def __str__(self) -> str:
        if self.mean is None:
            return f"guard {self.guard}: a run gave no {self.guard.name}"
        word = "holds" if self.holds else ("fails" if self.fails else "is in doubt")
        return f"guard {self.guard} {word}: {self.mean:g} over {self.runs} run(s), P(holds) {self.probability:.2f}"


def judge_guards(study: StudyState, program: Program, finals: int = 0) -> tuple[Judged, ...]:
    """By the program's runs in the search, or in the finals with this number."""
    return tuple(_judge(study, program, guard, finals) for guard in study.opened.terms.guards)


def after_guards(judged: Sequence[Judged], decision: Decision, why: str) -> tuple[Decision, str]:
    """The decision that is left of one by the objective alone, and why."""
    broken = [one for one in judged if not one.holds]
    if not broken:
        return decision, why
    worst = min(broken, key=lambda one: one.probability)
    if worst.fails:
        decision = Decision.DISCARD
    elif decision is Decision.KEEP:
        decision = Decision.INCONCLUSIVE
    return decision, f"{worst}. By the objective alone: {why}"


def values_of(program: Program, name: str, finals: int = 0) -> list[float | None]:
    """A number of its scored runs, in the search or in the finals with this number."""
    ended = (trial.finished for trial in program.trials if trial.claim.finals == finals and trial.cost is not None)
    return [one.score.metric(name) for one in ended if one is not None and one.score is not None]


def _judge(study: StudyState, program: Program, guard: Guard, finals: int) -> Judged:
    values = values_of(program, guard.name, finals)
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return Judged(guard, None, len(values), 0.0)
    mean = fmean(known)
    if "=" in guard.op and all(value == guard.limit for value in known):
        return Judged(guard, mean, len(known), 1.0)
    groups = [[v for v in values_of(one, guard.name, finals) if v is not None] for one in study.programs.values()]
    pooled = measure_noise(groups)
    sigma = own_noise(known, pooled).sigma if pooled is not None else 0.0
    return Judged(guard, mean, len(known), _probability(guard, mean, sigma / math.sqrt(len(known))))


def _probability(guard: Guard, mean: float, error: float) -> float:
    """That the true mean keeps the limit."""
    slack = guard.limit - mean if guard.op in ("<", "<=") else mean - guard.limit
    if error > 0:
        return NormalDist().cdf(slack / error)
    return float(slack > 0 or (slack == 0 and "=" in guard.op))
