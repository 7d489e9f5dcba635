"""Simulated nights: what the programs of a study are really worth, and what a run of one shows. Pure.

True values are costs in units of the baseline's run-to-run standard deviation, sigma; what a run shows is in the
objective's unit, of which a sigma has `World.sigma`. The four kinds of nights:

    equal     every program scatters by sigma
    unequal   each changed program scatters by sigma times a factor of its own, log-normal with log-sd 1
    step      at half time every cost falls by 2 sigma: the machine has changed its speed
    drift     every cost falls slowly, by 2 sigma over the night

A night has one planted gain at most, at a place drawn by lot among the first 60 ideas; all other ideas change nothing.
Ideas are edits of what the rule builds on, so that they carry a gain that was found before them.
"""

import math
import random
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

Kind = Literal["equal", "unequal", "step", "drift"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SLOTS = 100
WORKERS = 2
NOISE_RUNS = 5
PLANTED_BEFORE = 60
MACHINE_CHANGE = -2.0


@dataclass
class World:
    """The truth of one night. Program 0 is the baseline."""

    kind: Kind
    seed: int
    gain: float  # of the one planted idea, in sigma; 0 for a night of nulls
    slots: int = SLOTS
    sigma: float = 1.0  # in the objective's unit
    workers: int = WORKERS
    noise_runs: int = NOISE_RUNS
    true: list[float] = field(default_factory=lambda: [0.0])
    scatter: list[float] = field(default_factory=lambda: [1.0])

    def __post_init__(self) -> None:
        self._random = random.Random(f"{self.kind}/{self.seed}")
        self._planted_at = self._random.randrange(max(1, PLANTED_BEFORE * self.slots // SLOTS))
        self._slot = 0

    def idea(self, parent: int) -> int:
        """A change of this program; its number."""
        planted = len(self.true) - 1 == self._planted_at
        self.true.append(self.true[parent] - (self.gain if planted else 0.0))
        self.scatter.append(math.exp(self._random.gauss(0, 1)) if self.kind == "unequal" else 1.0)
        return len(self.true) - 1

    def run(self, program: int) -> float:
        """One run of it in the next slot."""
        share, self._slot = self._slot / self.slots, self._slot + 1
        moved = {"step": MACHINE_CHANGE * (share >= 0.5), "drift": MACHINE_CHANGE * share}.get(self.kind, 0.0)
        return self.sigma * self._random.gauss(self.true[program] + moved, self.scatter[program])


@dataclass(frozen=True)
class Told:
    """What a rule says in the morning: the program that it ends with, what it claims and what it shows of it."""

    program: int | None  # None: it ends with the baseline
    kept: bool
    gain: float  # shown, in the objective's unit; positive is better


class Rule(Protocol):
    """A way to spend the slots of a night."""

    def claim(self) -> int | None:
        """The program that runs in the next slot; None when the rule wants no more."""
        ...

    def finish(self, program: int, cost: float) -> None:
        """A run that was claimed has ended. Runs end in the order of their claims."""
        ...

    def told(self) -> Told: ...


def spend(rule: Rule, world: World) -> Told:
    """Workers side by side: while the trials of all but one run, that one claims."""
    running: list[tuple[int, float]] = []
    for _ in range(world.slots):
        program = rule.claim()
        while program is None and running:
            rule.finish(*running.pop(0))
            program = rule.claim()
        if program is None:
            break
        running.append((program, world.run(program)))
        if len(running) == world.workers:
            rule.finish(*running.pop(0))
    for ended in running:
        rule.finish(*ended)
    return rule.told()
