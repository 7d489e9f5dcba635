"""The table of real trainings as a problem for search policies: losses by program, noise, programs to start from."""

import json
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from statistics import fmean, median, stdev

from make_replay_table import GRID, PROGRAM, TABLE, key_of, rows

from swarm.program.constants import assign
from workers.proposers.spaces import values_of


@dataclass(frozen=True)
class Table:
    """The largest complete grid of the table: loss by setting, and the noise between seeds."""

    losses: Mapping[str, float]
    sigma: float
    source: str
    trainings: int

    @property
    def best(self) -> float:
        return min(self.losses.values())

    @property
    def described(self) -> str:
        return (
            f"{self.trainings} trainings; a complete grid of {len(self.losses)} settings, "
            f"losses {self.best:.3f} to {max(self.losses.values()):.3f}, noise {self.sigma:.4f}"
        )

    def start(self, rng: random.Random) -> str:
        """A program that works and was not tuned."""
        ranked = sorted(self.losses, key=self.losses.__getitem__)
        chosen = rng.choice(ranked[len(ranked) // 5 : len(ranked) // 2])
        return assign(self.source, dict(zip(GRID, json.loads(chosen), strict=True)))

    def loss(self, program: str) -> float:
        return self.losses[key_of(values_of(program))]

    def run(self, program: str, seed: int) -> float:
        """A training with this seed, as noisy as the repeated settings of the table."""
        return self.loss(program) + random.Random(f"{key_of(values_of(program))}/{seed}").gauss(0.0, self.sigma)


@cache
def load_table() -> Table:
    """Without the levels of the last constant that are not complete yet."""
    all_rows = rows()
    last, levels = list(GRID.items())[-1]
    size = prod(len(values) for values in GRID.values()) // len(levels)
    groups: dict[str, list[float]] = {}
    for row in all_rows:
        groups.setdefault(key_of(row["constants"]), []).append(row["loss"])
    counts = {level: sum(json.loads(key)[-1] == level for key in groups) for level in levels}
    complete = tuple(level for level in levels if counts[level] == size)
    if not complete:
        sys.exit(f"{TABLE.name} has {counts} of {size} rows a level of {last}: run benchmarks/make_replay_table.py")
    losses = {key: fmean(group) for key, group in groups.items() if json.loads(key)[-1] in complete}
    # The median, since a few settings with a rate near divergence scatter a hundred times as much as the others.
    sigma = median(stdev(group) for group in groups.values() if len(group) > 1)
    source = PROGRAM.read_text()
    if len(complete) < len(levels):
        comment = "{" + ", ".join(f'"{level}"' for level in levels) + "}"
        source = source.replace(f"  # search: {comment}", "")
    return Table(losses, sigma, source, len(all_rows))
