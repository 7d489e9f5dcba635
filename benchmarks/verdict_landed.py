"""Two rules to compare with, each by itself and frozen: what verdicts were before the finals, and greed.

`Landed` is the rule of version 0.1: one sigma for all programs, replicates within a fifth of the trials after the
noise floor, *confirmed* at three seeds with P(better) of 0.95 and a p-value within LOND levels over the programs that
were run again. `Greedy` takes whatever looks better after one run. Of the swarm it knows the simulated nights alone,
and follows none of its rules.
"""

import math
from dataclasses import dataclass, field
from statistics import NormalDist, fmean

from swarm.verdict.nights import NOISE_RUNS, Told, World

LEAD, CONFIRMED = 0.70, 0.95
SEEDS, MOST_SEEDS, INCUMBENT_SEEDS, SECOND_CHANCE, SPARE = 3, 16, 8, 0.4, 2
PRIOR_MEAN, PRIOR_SD, PLANNED_SIGMA = 0.01, 0.03, 0.012
_STANDARD = NormalDist()


@dataclass
class Entry:
    """One program as a rule knows it."""

    number: int
    parent: "Entry | None"
    costs: list[float] = field(default_factory=list)
    decision: str = ""  # keep, discard, inconclusive; empty before its first verdict
    level: str = "none"
    probability: float = 0.0
    judged_against: "Entry | None" = None
    leads: bool = False
    open: int = 0

    @property
    def mean(self) -> float:
        return fmean(self.costs)


class Greedy:
    """Best single run so far is what is built on and what is told."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._baseline: list[float] = []
        self._best, self._cost = 0, math.inf
        self._claims = 0

    def claim(self) -> int:
        self._claims += 1
        return 0 if self._claims <= NOISE_RUNS else self._world.idea(self._best)

    def finish(self, program: int, cost: float) -> None:
        if program == 0:
            self._baseline.append(cost)
            self._cost = fmean(self._baseline)
        elif cost < self._cost:
            self._best, self._cost = program, cost

    def told(self) -> Told:
        return Told(self._best, kept=self._best != 0, gain=fmean(self._baseline) - self._cost)


class Landed:
    """The verdicts and replicates of version 0.1."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._base = Entry(0, None)
        self._programs = [self._base]
        self._line: list[Entry] = []
        self._led: list[Entry] = []
        self._claims = self._replicates = 0

    def claim(self) -> int:
        self._claims += 1
        if self._claims <= NOISE_RUNS:
            return self._open(self._base)
        owed = self._owed()
        if owed is not None:
            self._replicates += 1
            return self._open(owed)
        parent = self._incumbent
        entry = Entry(self._world.idea(parent.number), parent)
        self._programs.append(entry)
        return self._open(entry)

    def finish(self, program: int, cost: float) -> None:
        own = self._programs[program]
        own.costs.append(cost)
        own.open -= 1
        noise = self._noise()
        if noise is None:
            return
        also = [p for p in self._programs if p is not own and p.parent and p.costs]
        for entry in [own, *(p for p in also if not p.decision or p.judged_against is own)]:
            self._judge(entry, *noise)

    def told(self) -> Told:
        """The best of what is kept, by its mean; else what leads, with its mean."""
        kept = [entry for entry in self._programs if entry.level == "confirmed"]
        chosen = min(kept, key=lambda entry: entry.mean) if kept else self._incumbent
        number = chosen.number if chosen is not self._base else None
        return Told(number, kept=bool(kept), gain=self._base.mean - chosen.mean)

    @property
    def _incumbent(self) -> Entry:
        return self._line[-1] if self._line else self._base

    def _open(self, entry: Entry) -> int:
        entry.open += 1
        return entry.number

    def _noise(self) -> tuple[float, int] | None:
        groups = [p.costs if p is self._base else p.costs[1:] for p in self._programs]
        degrees = sum(len(group) - 1 for group in groups if len(group) > 1)
        if degrees < NOISE_RUNS - 1:
            return None
        squares = 0.0
        for group in groups:
            if len(group) > 1:
                mean = fmean(group)
                squares += sum((cost - mean) ** 2 for cost in group)
        return math.sqrt(squares / degrees), degrees

    def _judge(self, entry: Entry, sigma: float, degrees: int) -> None:
        against = self._reference(entry)
        if against is None:
            return
        entry.judged_against = against
        probability = entry.probability = better(entry.costs, against.costs, sigma)
        runs = len(entry.costs)
        before = self._incumbent
        rival = None if before is entry else better(entry.costs, before.costs, sigma)
        if runs >= SEEDS and probability >= CONFIRMED and self._proven(entry, against, sigma, degrees):
            entry.decision, entry.level = "keep", "confirmed"
            leads = rival is None or before is against or rival >= LEAD
        elif probability >= LEAD:
            entry.decision, entry.level = "inconclusive", "provisional"
            far = before.mean - entry.mean >= sigma or not self._mostly_fell()
            leads = rival is None or (rival >= LEAD and far)
        else:
            worse = (runs > 1 and probability < 0.5) or probability <= 1 - LEAD
            entry.decision, entry.level = "discard" if worse else "inconclusive", "none"
            leads = rival is None and not worse
        if entry.decision == "discard" and entry in self._line:
            self._line.remove(entry)
        if leads and entry not in self._line:
            self._line.append(entry)
            self._led.append(entry)

    def _reference(self, entry: Entry) -> Entry | None:
        parent = entry.parent
        while parent is not None and (not parent.costs or parent.decision == "discard"):
            parent = parent.parent
        return parent

    def _proven(self, entry: Entry, against: Entry, sigma: float, degrees: int) -> bool:
        error = sigma * math.sqrt(1 / len(entry.costs) + 1 / len(against.costs))
        position, keeps = 1, 0
        for earlier in self._programs:
            if earlier is entry:
                break
            if earlier.parent is not None and len(earlier.costs) > 1:
                position += 1
                keeps += earlier.level == "confirmed"
        level = 0.05 * 20 / ((position + 19) * (position + 20)) * (keeps + 1)
        return student_tail((against.mean - entry.mean) / error, degrees) <= level

    def _mostly_fell(self) -> bool:
        led = {entry.number: entry for entry in self._led}.values()
        fallen = sum(entry.decision == "discard" for entry in led)
        return len(led) >= 3 and 2 * fallen > len(led)

    def _owed(self) -> Entry | None:
        made = self._claims - 1 - NOISE_RUNS
        credit = 0
        while self._replicates + credit + 1 <= max(2, (made + credit + 1) // 5):
            credit += 1
        if credit <= 0:
            return None
        wanted = [entry for entry in self._programs if self._contends(entry, spare=credit > SPARE)]
        for entry in sorted(wanted, key=lambda one: -one.probability):
            against = self._reference(entry)
            short = against is not None and len(against.costs) + against.open < len(entry.costs) + entry.open
            chosen = against if short and against is not None else entry
            if not chosen.open and len(chosen.costs) < MOST_SEEDS:
                return chosen
        return None

    def _contends(self, entry: Entry, *, spare: bool) -> bool:
        runs = len(entry.costs)
        return entry.decision == "inconclusive" and (
            entry.level == "provisional"
            or (entry is self._incumbent and runs < INCUMBENT_SEEDS)
            or (runs == 1 and entry.probability >= SECOND_CHANCE and spare)
        )


def better(costs: list[float], reference: list[float], sigma: float) -> float:
    """P(lower mean cost) with one sigma for both and the prior scaled to it."""
    error = sigma * math.sqrt(1 / len(costs) + 1 / len(reference))
    scale = max(1.0, sigma / PLANNED_SIGMA)
    mean, sd = PRIOR_MEAN * scale, PRIOR_SD * scale
    precision = 1 / error**2 + 1 / sd**2
    return _STANDARD.cdf(-((fmean(costs) - fmean(reference)) / error**2 + mean / sd**2) / math.sqrt(precision))


def student_tail(t: float, degrees: int) -> float:
    """P(T > t): Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine, odd = math.cos(angle), degrees % 2
    term = cosine if odd else 1.0
    total = 0.0
    for power in range(1 + odd, degrees, 2):
        total += term
        term *= power / (power + 1) * cosine**2
    total *= math.sin(angle)
    inside = 2 / math.pi * (angle + total) if odd else total
    return (1 - inside) / 2
