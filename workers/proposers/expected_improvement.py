"""Where a Gaussian process expects the largest improvement, looked for around the best points. Seeded; pure.

From each start moves of a few constants at a time are tried and the largest expected improvement is kept, until the
rounds are over. Starts are the best points, and the best of many drawn by lot around them and anywhere: the maximum is
seldom near the point that is best so far (Balandat et al., "BoTorch", arXiv 1910.06403, start so as well).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.proposers.gaussian_process import Array

ROUNDS = 10
MOVES = 24  # of each start in each round
REACH = 0.2  # standard deviation of a move, of a constant's space; halved over the rounds
FAR = -5.0  # standard deviations below the best from which on an expansion is exact enough

Score = Callable[[Array], Array]
"""Of positions, row by row; more is better."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The positions that one constant can take: `steps` of them evenly from 0 to 1, or any for None."""

    steps: int | None
    ordered: bool

    def settled(self, positions: Array) -> Array:
        """The nearest positions that the constant can take."""
        inside = np.clip(positions, 0.0, 1.0)
        if self.steps is None:
            return inside
        return np.asarray(np.round(inside * (self.steps - 1)) / max(1, self.steps - 1))


def log_improvement(mean: Array, spread: Array, best: float) -> Array:
    """Logarithm of the expected improvement below `best`; finite where the improvement itself would be 0."""
    deviations = (best - mean) / spread
    density = np.exp(-0.5 * deviations**2) / math.sqrt(2 * math.pi)
    below = 0.5 * np.asarray(_erfc(-deviations / math.sqrt(2)), dtype=np.float64)
    near = np.maximum(deviations * below + density, 1e-300)
    far = np.minimum(deviations, FAR)
    tail = -0.5 * far**2 - 0.5 * math.log(2 * math.pi) - 2.0 * np.log(-far) + np.log1p(-3.0 / far**2)
    return np.asarray(np.where(deviations > FAR, np.log(near), tail) + np.log(spread))


_erfc = np.frompyfunc(math.erfc, 1, 1)


def scattered(around: Array, axes: list[Axis], count: int, rng: np.random.Generator) -> Array:
    """[position, constant]: positions by lot, each with some of the constants, few or many, of one row of `around`."""
    positions = np.column_stack([_anywhere(axis, count, rng) for axis in axes])
    kept = rng.random(positions.shape) < rng.random((count, 1))
    return np.where(kept, around[rng.integers(0, len(around), count)], positions)


def _anywhere(axis: Axis, count: int, rng: np.random.Generator) -> Array:
    if axis.steps is None:
        return np.asarray(rng.random(count))
    return np.asarray(rng.integers(0, max(1, axis.steps), count) / max(1, axis.steps - 1))


def climbed(score: Score, starts: Array, axes: list[Axis], free: NDArray[np.intp], rng: np.random.Generator) -> Array:
    """The best position that was reached from each start; only the `free` constants move."""
    here, value = starts.copy(), np.full(len(starts), -np.inf)
    for number in range(ROUNDS):
        reach = REACH * (1.0 - 0.5 * number / ROUNDS)
        moves = _moves(here, axes, free, reach, rng)
        values = score(moves.reshape(-1, here.shape[1])).reshape(len(here), MOVES)
        chosen = values.argmax(axis=1)
        reached = values[np.arange(len(here)), chosen]
        better = reached > value
        here = np.where(better[:, None], moves[np.arange(len(here)), chosen], here)
        value = np.where(better, reached, value)
    return here


def _moves(here: Array, axes: list[Axis], free: NDArray[np.intp], reach: float, rng: np.random.Generator) -> Array:
    """[start, move, constant]: each start with one to three of its free constants moved, sometimes more."""
    count = min(len(free), 6)
    moves = np.repeat(here[:, None, :], MOVES, axis=1)
    share = np.minimum(1.0, rng.choice([1.0, 2.0, 3.0, count], size=(len(here), MOVES)) / len(free))
    moved = rng.random((len(here), MOVES, len(free))) < share[:, :, None]
    surely = rng.integers(0, len(free), size=(len(here), MOVES))
    np.put_along_axis(moved, surely[:, :, None], True, axis=2)
    for order, place in enumerate(free):
        axis, column = axes[place], moves[:, :, place]
        if axis.ordered:
            least = 1.0 / (axis.steps - 1) if axis.steps is not None and axis.steps > 1 else 0.0
            step = rng.normal(0.0, reach, column.shape)
            step = np.copysign(np.maximum(np.abs(step), least), step)
            target = axis.settled(column + step)
        else:
            target = _anywhere(axis, column.size, rng).reshape(column.shape)
        moves[:, :, place] = np.where(moved[:, :, order], target, column)
    return moves
