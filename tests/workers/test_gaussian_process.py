"""The process and its expected improvement against what is known analytically."""

import math

import numpy as np
import pytest

from workers.proposers.expected_improvement import Axis, climbed, log_improvement, scattered
from workers.proposers.gaussian_process import ABSENT, Points, _loss, conditioned, fitted

RNG = np.random.default_rng(0)


def points(units, marks=None, categories=None):
    units = np.atleast_2d(np.asarray(units, dtype=np.float64))
    marks = np.zeros((len(units), 1)) if marks is None else np.asarray(marks, dtype=np.float64)
    return Points(units, marks, np.zeros(units.shape[1], dtype=bool) if categories is None else np.array(categories))


def hyper(constants=1, *, length=0.3, amplitude=1.0, offset=0.2, decay=0.5, louder=1.0):
    return np.log([*[length] * constants, amplitude, offset, decay, louder])


def test_it_passes_through_what_has_no_noise_and_is_unsure_far_away():
    at, values = points([[0.1], [0.5], [0.9]]), np.array([1.0, -1.0, 0.5])
    process = conditioned(at, values, np.full(3, 1e-9), hyper(length=0.1))
    mean, spread = process.predict(at)
    assert mean == pytest.approx(values, abs=1e-4) and (spread < 0.01).all()
    _, between = process.predict(points([[0.3]]))
    assert between[0] > 0.5


def test_noise_of_one_run_counts_less_than_that_of_many():
    """Two results of one program average by the inverse of their variances, as conjugate normals do."""
    at = points([[0.5], [0.5]])
    process = conditioned(at, np.array([1.0, 0.0]), np.array([0.4, 0.1]), hyper(amplitude=100.0, offset=1e-9))
    mean, spread = process.predict(points([[0.5]]))
    assert mean[0] == pytest.approx((1.0 / 0.4) / (1.0 / 0.4 + 1.0 / 0.1), abs=0.01)
    assert spread[0] == pytest.approx(math.sqrt(1 / (1 / 0.4 + 1 / 0.1)), abs=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_the_slope_is_that_of_the_likelihood(seed):
    from workers.proposers.gaussian_process import _edits, _gaps

    rng = np.random.default_rng(seed)
    units = rng.random((12, 3))
    units[2:5, 1] = np.nan
    units[:, 2] = rng.integers(0, 3, 12) / 2
    at = points(units, rng.integers(0, 2, (12, 2)), [False, False, True])
    told = _gaps(at, at), _edits(at, at), rng.normal(size=12), rng.random(12) * 0.1
    here = rng.normal(0.0, 0.4, 7)
    _, slope = _loss(here, *told)
    for place in range(7):
        step = np.zeros(7)
        step[place] = 1e-5
        measured = (_loss(here + step, *told)[0] - _loss(here - step, *told)[0]) / 2e-5
        assert slope[place] == pytest.approx(measured, rel=1e-3, abs=1e-5), place


def test_it_finds_which_constant_matters():
    units = RNG.random((60, 4))
    values = np.sin(6 * units[:, 1])
    process = fitted(points(units), (values - values.mean()) / values.std(), np.full(60, 1e-4))
    assert process.hyper[1] == min(process.hyper[:4]) < process.hyper[[0, 2, 3]].min() - 0.5
    unseen = RNG.random((50, 4))
    mean, _ = process.predict(points(unseen))
    assert np.corrcoef(mean, np.sin(6 * unseen[:, 1]))[0, 1] > 0.95


def test_a_category_has_no_order_and_a_lacking_constant_is_neither_near_nor_far():
    at = points([[0.0], [0.5], [1.0], [np.nan]], categories=[True])
    process = conditioned(at, np.array([1.0, 0.0, 0.0, 0.0]), np.full(4, 1e-6), hyper(length=1.0, offset=1e-9))
    covariance = np.linalg.inv(process._inverse_root) @ np.linalg.inv(process._inverse_root).T
    assert covariance[0, 1] == pytest.approx(covariance[0, 2])
    numbers = conditioned(points([[0.0], [ABSENT]]), np.zeros(2), np.full(2, 1e-6), hyper(length=1.0, offset=1e-9))
    known = np.linalg.inv(numbers._inverse_root) @ np.linalg.inv(numbers._inverse_root).T
    assert covariance[0, 3] == pytest.approx(known[0, 1])


def test_structures_share_a_landscape_and_have_levels_of_their_own():
    """Ten results of one structure and one of another: the other's landscape is the first one's, moved."""
    grid = np.linspace(0, 1, 10)
    units = np.array([*grid, 0.0])[:, None]
    marks = np.array([[0.0]] * 10 + [[1.0]])
    values = np.array([*np.square(grid - 0.7), 0.49 - 2.0])
    process = conditioned(points(units, marks), values, np.full(11, 1e-4), hyper(length=0.5, offset=4.0, decay=0.01))
    other = points(np.linspace(0, 1, 21)[:, None]).at(np.linspace(0, 1, 21)[:, None], np.array([1.0]))
    mean, _ = process.predict(other)
    assert abs(other.units[mean.argmin(), 0] - 0.7) < 0.11
    assert mean.min() < -1.5


def test_identical_points_and_constant_values_have_a_root():
    at = points(np.full((40, 2), 0.5))
    for values in (np.zeros(40), np.ones(40)):
        mean, spread = fitted(at, values, np.zeros(40)).predict(points([[0.2, 0.2]]))
        assert np.isfinite(mean).all() and np.isfinite(spread).all() and (spread > 0).all()


def test_before_anything_is_learned_a_length_is_the_root_of_the_number_of_constants():
    for constants in (1, 4, 16):
        same = points(np.full((3, constants), 0.5))
        lengths = np.exp(fitted(same, np.zeros(3), np.full(3, 0.01)).hyper[:constants])
        assert lengths == pytest.approx(math.sqrt(constants), rel=1e-6)


def test_what_is_not_finite_has_none():
    with pytest.raises(np.linalg.LinAlgError):
        fitted(points([[0.1], [0.2]]), np.zeros(2), np.array([np.inf, 1.0]))
    with pytest.raises(np.linalg.LinAlgError):
        conditioned(points([[0.1], [0.2]]), np.zeros(2), np.zeros(2), np.full(5, np.nan))


def test_improvement_is_that_of_a_normal_and_finite_where_it_vanishes():
    """Against a million draws; then the expansion for the tail against the exact value where both can be had."""
    mean, spread, best = 0.3, 0.5, 0.1
    drawn = np.maximum(best - np.random.default_rng(1).normal(mean, spread, 1_000_000), 0.0).mean()
    found = log_improvement(np.array([mean]), np.array([spread]), best)[0]
    assert math.exp(found) == pytest.approx(drawn, rel=0.01)
    around = log_improvement(np.array([4.999, 5.001]), np.ones(2), 0.0)
    assert abs(around[0] - around[1]) < 0.05
    far = log_improvement(np.array([10.0, 100.0, 1e5]), np.ones(3), 0.0)
    assert np.isfinite(far).all() and (np.diff(far) < 0).all()
    assert log_improvement(np.array([0.0]), np.array([1e-6]), 1.0)[0] == pytest.approx(0.0, abs=1e-6)


def test_a_climb_reaches_the_top_and_keeps_to_the_spaces_and_to_what_is_free():
    axes = [Axis(None, ordered=True), Axis(5, ordered=True), Axis(3, ordered=False), Axis(None, ordered=True)]
    top = np.array([0.62, 0.75, 0.5, 0.9])

    def score(at):
        return -np.square(at - top).sum(axis=1)

    starts = np.tile([0.1, 0.0, 0.0, 0.2], (4, 1))
    found = climbed(score, starts, axes, np.array([0, 1, 2]), np.random.default_rng(3))
    best = found[score(found).argmax()]
    assert abs(best[0] - 0.62) < 0.05 and best[1] == 0.75 and best[2] == 0.5
    assert (found[:, 3] == 0.2).all(), "it is not free"
    assert set(found[:, 1]) <= {0.0, 0.25, 0.5, 0.75, 1.0} and (found[:, 0] >= 0).all()
    again = climbed(score, starts, axes, np.array([0, 1, 2]), np.random.default_rng(3))
    assert (again == found).all()


def test_places_by_lot_are_values_that_constants_take_some_like_a_good_program_and_some_unlike():
    axes = [Axis(None, ordered=True), Axis(5, ordered=True), Axis(3, ordered=False), Axis(1, ordered=True)]
    around = np.array([[0.123, 0.25, 0.5, 0.0], [0.456, 0.75, 1.0, 0.0]])
    drawn = scattered(around, axes, 2000, np.random.default_rng(4))
    assert drawn.shape == (2000, 4) and drawn.min() >= 0 and drawn.max() <= 1
    assert set(drawn[:, 1]) == {0.0, 0.25, 0.5, 0.75, 1.0} and set(drawn[:, 2]) == {0.0, 0.5, 1.0}
    assert (drawn[:, 3] == 0).all()
    like = (drawn[:, None] == around[None])[:, :, :3].sum(axis=2).max(axis=1)
    assert {0, 1, 2, 3} <= set(like), "from nothing kept to everything"
    assert drawn[:, 0].max() > 0.95 and drawn[:, 0].min() < 0.05


def test_a_space_of_one_value_is_left_where_it_is():
    axes = [Axis(1, ordered=False), Axis(1, ordered=True)]
    found = climbed(lambda at: at.sum(axis=1), np.zeros((2, 2)), axes, np.array([0, 1]), np.random.default_rng(0))
    assert (found == 0).all()
