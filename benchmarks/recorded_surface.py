"""A response surface over the constants of a small ResNeXt, fitted to 2,458 recorded trainings.

Extremely randomised trees (Geurts et al. 2006), each grown on all trainings: no smoothness that a Gaussian process
would find to be its own. What a training comes to there is the mean of the trees, and noise as between seeds; it fails
where most of the recorded trainings nearest in the trees did. A guide for the development of policies, and no evidence
of what they do on real trainings.
"""

import json
import random
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swarm.program.constants import Space
from swarm.records import FailReason, Scalar
from workers.proposers.spaces import searched, unit, values_of

FILE = Path(__file__).resolve().parent / "data" / "surface.jsonl"
TREES = 30
LEAF = 3  # trainings, at least
TRIED = 6  # constants for each split
WORST = 5.0  # a loss above it, worse than guessing, is as good as this one
NOISE = 0.1  # standard deviation between seeds, of the recorded replicates in nats

CONTRACT = """

def build_model():
    return None


def main():
    finish(build_model())
"""
"""What the gate asks of a program; nobody runs it."""

Array = NDArray[np.float64]


class _Tree(NamedTuple):
    """Node by node: the constant it splits at, where, and its children; or the values of a leaf."""

    place: NDArray[np.int64]
    split: Array
    children: NDArray[np.int64]
    loss: Array
    failed: Array


class Surface:
    """Answers for programs of `source` with other values of its constants."""

    def __init__(self, file: Path = FILE) -> None:
        head, *rows = map(json.loads, file.read_text().splitlines())
        self.source = "\n".join(head["declarations"]) + "\n" + CONTRACT
        self._spaces = searched(self.source)
        losses = [row[-1] for row in rows]
        failed = np.array([isinstance(loss, str) for loss in losses], dtype=np.float64)
        known = np.array([np.nan if isinstance(loss, str) else min(loss, WORST) for loss in losses])
        units = np.array([self._units(dict(zip(self._spaces, row[:-1], strict=True))) for row in rows])
        self._trees = [_grown(units, known, failed, np.random.default_rng(seed)) for seed in range(TREES)]

    def loss(self, program: str) -> float:
        """Without noise; infinite where it fails."""
        at = self._units(values_of(program))
        leaves = [(tree, _leaf(tree, at)) for tree in self._trees]
        if np.mean([tree.failed[leaf] for tree, leaf in leaves]) > 0.5:
            return float("inf")
        return float(np.nanmean([tree.loss[leaf] for tree, leaf in leaves]))

    def run(self, program: str, seed: int) -> float | FailReason:
        loss = self.loss(program)
        if loss == float("inf"):
            return FailReason.DIVERGED
        return round(loss + random.Random(f"{seed}/{program}").gauss(0.0, NOISE), 6)

    def _units(self, values: Mapping[str, Scalar]) -> Array:
        return np.array([_position(space, values[name]) for name, space in self._spaces.items()])


def _position(space: Space, value: Scalar) -> float:
    position = unit(space, value)
    assert position is not None, f"{value} is outside {space}"
    return position


@cache
def recorded_surface() -> Surface:
    return Surface()


def _leaf(tree: _Tree, at: Array) -> int:
    node = 0
    while tree.place[node] >= 0:
        node = tree.children[node, int(at[tree.place[node]] > tree.split[node])]
    return int(node)


def _grown(units: Array, losses: Array, failed: Array, rng: np.random.Generator) -> _Tree:
    places, splits, children, leaf_loss, leaf_failed = [], [], [], [], []
    target = np.where(np.isnan(losses), WORST, np.minimum(losses, WORST))

    def grow(rows: NDArray[np.intp]) -> int:
        number = len(places)
        good = losses[rows][~np.isnan(losses[rows])]
        places.append(-1)
        splits.append(0.0)
        children.append((0, 0))
        leaf_loss.append(good.mean() if len(good) else np.nan)
        leaf_failed.append(failed[rows].mean())
        chosen = _split(units[rows], target[rows], rng) if len(rows) >= 2 * LEAF else None
        if chosen is not None:
            place, split = chosen
            above = units[rows, place] > split
            places[number], splits[number] = place, split
            children[number] = (grow(rows[~above]), grow(rows[above]))
        return number

    grow(np.arange(len(units)))
    return _Tree(*map(np.array, (places, splits, children, leaf_loss, leaf_failed)))


def _split(units: Array, target: Array, rng: np.random.Generator) -> tuple[int, float] | None:
    """Of a few constants by lot, each split at random, the one that leaves the least spread."""
    best, chosen = np.inf, None
    for place in rng.permutation(units.shape[1])[:TRIED]:
        low, high = units[:, place].min(), units[:, place].max()
        if low == high:
            continue
        split = float(rng.uniform(low, high))
        above = units[:, place] > split
        if not LEAF <= above.sum() <= len(units) - LEAF:
            continue
        left = target[~above].var() * (~above).sum() + target[above].var() * above.sum()
        if left < best:
            best, chosen = left, (int(place), split)
    return chosen
