"""A Gaussian process over programs as points of a mixed space, with noise and structure. numpy alone; no files, no lot.

The covariance of two programs is

    amplitude * matern52(r) * exp(-decay * s) + offset * exp(-s),    r^2 = sum_i gap_i^2 / length_i^2

where `gap_i` is how far they are apart in constant i and `s` counts the structural edits that only one of the two has.
So one landscape of constants is shared by all structures, each structure may bend it, and each has a level of its own.
A constant that only one of the two programs has makes a gap of `ABSENT`; one that both lack makes none.

Matern 5/2 with a length for each constant is what most Bayesian optimisers use (Snoek et al., arXiv 1206.2944). The
hyperparameters are those of the largest posterior density: the prior on lengths is around the root of the number of
constants (Hvarfner et al., arXiv 2402.02229), so that twenty constants and a dozen results are no contradiction. They
are found by Rprop (Riedmiller and Braun 1993), which Blum and Riedmiller (ESANN 2013) found as good as conjugate
gradients for Gaussian processes and which needs no line search.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ABSENT = 0.5  # the gap between a program that has a constant and one that lacks it
MOST_FITTED = 150  # points that the hyperparameters are fitted on; the posterior takes all
STEPS = 40  # of Rprop
JITTERS = (1e-8, 1e-6, 1e-4, 1e-2)


class Points(NamedTuple):
    """Programs as rows. `units`: positions of the constants, 0 to 1, NaN where a program lacks one. `marks`: 1 for each
    structural edit that a program has. `categories`: for each constant, whether its values have no order."""

    units: Array
    marks: Array
    categories: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.units)

    def at(self, units: Array, mark: Array) -> "Points":
        """Other positions, all of the structure `mark`."""
        return Points(units, np.broadcast_to(mark, (len(units), self.marks.shape[1])), self.categories)

    def and_(self, others: "Points") -> "Points":
        """These, then others of the same constants and marks."""
        units, marks = np.vstack([self.units, others.units]), np.vstack([self.marks, others.marks])
        return Points(units, marks, self.categories)

    def rows(self, chosen: NDArray[np.intp]) -> "Points":
        return Points(self.units[chosen], self.marks[chosen], self.categories)


@dataclass(frozen=True, slots=True)
class Posterior:
    """What the process says after its observations, in the unit of their values."""

    points: Points
    values: Array
    hyper: Array
    _inverse_root: Array  # of the covariance: the inverse of its Cholesky factor
    _weights: Array

    def predict(self, at: Points) -> tuple[Array, Array]:
        """Mean and standard deviation of the values there, without noise."""
        amplitude, offset = np.exp(self.hyper[-4]), np.exp(self.hyper[-3])
        covariance = _covariance(at, self.points, self.hyper)
        explained = np.square(covariance @ self._inverse_root.T).sum(axis=1)
        return covariance @ self._weights, np.sqrt(np.maximum(amplitude + offset - explained, 1e-12))


def fitted(points: Points, values: Array, noise: Array) -> Posterior:
    """The posterior with hyperparameters of the largest posterior density. `values` should have about mean 0 and
    spread 1; `noise` is the variance of each. Raises numpy.linalg.LinAlgError when the covariance has no root."""
    chosen = _spread_over(len(points))
    hyper = _most_likely(points.rows(chosen), values[chosen], noise[chosen])
    return conditioned(points, values, noise, hyper)


def conditioned(points: Points, values: Array, noise: Array, hyper: Array) -> Posterior:
    """The posterior with these hyperparameters."""
    covariance = _covariance(points, points, hyper)
    root = _root(covariance, noise * np.exp(hyper[-1]))
    inverse_root = np.linalg.solve(root, np.eye(len(root)))
    weights = inverse_root.T @ (inverse_root @ values)
    return Posterior(points, values, hyper, np.asarray(inverse_root, dtype=np.float64), weights)


def _spread_over(count: int) -> NDArray[np.intp]:
    """Places of at most MOST_FITTED points: the first half of them the first ones, which the caller puts there."""
    if count <= MOST_FITTED:
        return np.arange(count)
    head = MOST_FITTED // 2
    tail = np.linspace(head, count - 1, MOST_FITTED - head).astype(np.intp)
    return np.unique(np.concatenate([np.arange(head), tail]))


def _prior(constants: int) -> tuple[Array, Array]:
    """Means and spreads of the logarithms of: lengths, amplitude, offset, decay, scale of the noise."""
    length = 0.5 * np.log(max(1, constants))
    means = np.array([*[length] * constants, 0.0, np.log(0.3), np.log(0.15), 0.0])
    return means, np.array([*[1.0] * constants, 0.7, 1.0, 0.7, 0.7])


def _most_likely(points: Points, values: Array, noise: Array) -> Array:
    """Rprop from the prior's mode; the best that it came by."""
    means, spreads = _prior(points.units.shape[1])
    gaps, edits = _gaps(points, points), _edits(points, points)
    hyper, step, before = means.copy(), np.full(len(means), 0.1), np.zeros(len(means))
    best, best_hyper = np.inf, hyper
    for _ in range(STEPS):
        try:
            loss, slope = _loss(hyper, gaps, edits, values, noise)
        except np.linalg.LinAlgError:
            break  # too far out; what was found before still holds
        pull = (hyper - means) / spreads**2
        loss, slope = loss + 0.5 * float(((hyper - means) / spreads) @ ((hyper - means) / spreads)), slope + pull
        if loss < best:
            best, best_hyper = loss, hyper
        agrees = slope * before
        step = np.clip(np.where(agrees > 0, 1.2 * step, np.where(agrees < 0, 0.5 * step, step)), 1e-3, 1.0)
        before = np.where(agrees < 0, 0.0, slope)
        hyper = hyper - np.sign(before) * step
    return best_hyper


def _loss(hyper: Array, gaps: Array, edits: Array, values: Array, noise: Array) -> tuple[float, Array]:
    """The negative logarithm of the likelihood, up to a constant, and its slope."""
    count = len(gaps)
    lengths, (amplitude, offset, decay, louder) = np.exp(hyper[:count]), np.exp(hyper[count:])
    scaled = gaps / np.square(lengths)[:, None, None]
    root5r = np.sqrt(5.0 * scaled.sum(axis=0))
    falling, kept, level = np.exp(-root5r), np.exp(-decay * edits), offset * np.exp(-edits)
    shape = amplitude * (1.0 + root5r + root5r**2 / 3.0) * falling * kept
    root = _root(shape + level, noise * louder)
    inverse_root = np.linalg.solve(root, np.eye(len(root)))
    inverse = inverse_root.T @ inverse_root
    weights = inverse @ values
    half = 0.5 * (inverse - np.outer(weights, weights))
    bend = half * (amplitude * 5.0 / 3.0 * (1.0 + root5r) * falling * kept)
    slope = np.array(
        [
            *(scaled.reshape(count, -1) @ bend.ravel()),
            np.sum(half * shape),
            np.sum(half * level),
            np.sum(half * shape * -decay * edits),
            np.sum(half.diagonal() * noise * louder),
        ]
    )
    return 0.5 * float(values @ weights) + float(np.log(root.diagonal()).sum()), slope


def _covariance(a: Points, b: Points, hyper: Array) -> Array:
    count = a.units.shape[1]
    lengths, (amplitude, offset, decay, _) = np.exp(hyper[:count]), np.exp(hyper[count:])
    squared = np.zeros((len(a), len(b)))
    for place in range(count):
        squared += _gap(a, b, place) / lengths[place] ** 2
    root5r, edits = np.sqrt(5.0 * squared), _edits(a, b)
    return np.asarray(
        amplitude * (1.0 + root5r + root5r**2 / 3.0) * np.exp(-root5r - decay * edits) + offset * np.exp(-edits)
    )


def _gaps(a: Points, b: Points) -> Array:
    """Squared gaps, constant by constant."""
    count = a.units.shape[1]
    return np.stack([_gap(a, b, place) for place in range(count)]) if count else np.zeros((0, len(a), len(b)))


def _gap(a: Points, b: Points, place: int) -> Array:
    first, second = a.units[:, place, None], b.units[None, :, place]
    apart = np.square(first - second)
    if a.categories[place]:
        apart = np.where(apart > 0, 1.0, apart)  # keeps NaN
    missing = np.isnan(apart)
    if missing.any():
        both = np.isnan(first) & np.isnan(second)
        apart = np.where(missing, np.where(both, 0.0, ABSENT**2), apart)
    return np.asarray(apart)


def _edits(a: Points, b: Points) -> Array:
    """How many structural edits only one of the two has."""
    own, other = a.marks.sum(axis=1), b.marks.sum(axis=1)
    return np.asarray(own[:, None] + other[None, :] - 2.0 * (a.marks @ b.marks.T))


def _root(covariance: Array, noise: Array) -> Array:
    """Cholesky's factor; with a little more on the diagonal where it has none. Raises numpy.linalg.LinAlgError."""
    if not (np.isfinite(covariance).all() and np.isfinite(noise).all()):
        raise np.linalg.LinAlgError("the covariance is not finite")
    for jitter in JITTERS:
        try:
            root = np.linalg.cholesky(covariance + np.diag(noise + jitter * covariance.diagonal().mean()))
        except np.linalg.LinAlgError:
            continue
        return np.asarray(root, dtype=np.float64)
    raise np.linalg.LinAlgError(f"the covariance of {len(covariance)} points has no root")
