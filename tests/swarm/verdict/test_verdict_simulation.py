"""Error control of whole studies, simulated through the real verdicts and their own replicates.

A night has 100 proposals, each an edit of the incumbent of the moment, and whatever replicates the study owes. The
noise floor is estimated in each night from its own five baseline runs, as in a real study. The figures of the slow
tests are in docs/explanation/verdicts.md.
"""

import math
from collections.abc import Iterator
from fractions import Fraction

import pytest
from factories.studies import SIGMA, Night, simulate_night

from swarm.verdict import replication

NULLS = [0.0] * 100


def false_keeps(nights: list[Night]) -> tuple[float, float]:
    """Share of nights that ever showed a false keep, and false keeps per proposal."""
    return (
        sum(bool(night.ever_kept) for night in nights) / len(nights),
        sum(len(night.ever_kept) for night in nights) / (len(nights) * len(NULLS)),
    )


def power(position: int, nights: int, *, seed: int) -> float:
    """Share of nights in which a true gain of two sigma at this position is confirmed by the end."""
    effects = [0.0] * position + [-2 * SIGMA]
    done = [simulate_night(seed + index, effects, extra_slots=40) for index in range(nights)]
    return sum(night.names[position] in night.kept for night in done) / nights


@pytest.fixture
def replicates_for_all(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The rule by itself, without the cap on what a study can afford."""
    monkeypatch.setattr(replication, "REPLICATE_SHARE", Fraction(9, 10))
    yield


def test_a_few_nights_of_nulls_keep_next_to_nothing() -> None:
    nights = [simulate_night(seed, NULLS, extra_slots=10) for seed in range(12)]
    per_night, per_proposal = false_keeps(nights)
    assert per_night <= 2 / 12
    assert per_proposal <= 0.002
    assert all(night.replicates <= 0.2 * (100 + night.replicates) for night in nights)


@pytest.mark.usefixtures("replicates_for_all")
def test_a_gain_of_two_sigma_is_mostly_found() -> None:
    assert power(8, 30, seed=500) >= 0.65  # 0.87 in the slow test; 30 nights scatter by 0.06


def test_a_gain_of_four_sigma_is_found_within_the_cap() -> None:
    effects = [0.0] * 10 + [-4 * SIGMA] + [0.0] * 20
    nights = [simulate_night(900 + seed, effects, extra_slots=10) for seed in range(20)]
    assert sum(night.names[10] in night.kept for night in nights) >= 12  # about 0.7


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_at_most_one_night_of_nulls_in_twenty_keeps_anything() -> None:
    count = 600
    per_night, per_proposal = false_keeps([simulate_night(seed, NULLS, extra_slots=30) for seed in range(count)])
    print(f"false keep ever shown: {per_night:.4f} of nights, {per_proposal:.6f} of proposals, {count} nights")
    assert per_night <= 0.05 + 1.64 * math.sqrt(0.05 * 0.95 / count)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("replicates_for_all")
def test_power_for_two_sigma_is_at_least_80_percent() -> None:
    found = {position: power(position, 200, seed=10_000) for position in (5, 20, 50)}
    print(f"power by position: {found}")
    assert sum(found.values()) / len(found) >= 0.80
