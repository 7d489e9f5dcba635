"""Error control of whole nights, simulated through the functions of `swarm up`.

The nights and the rule are those of `benchmarks/verdicts.py`, which prints the figures of docs/verdicts.md.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import verdicts
from verdict_nights import KINDS, Kind, World, spend
from verdict_ours import Ours

from swarm.records import Operator

GOAL_FALSE, GOAL_TWO, GOAL_THREE, GOAL_TOLD = 0.05, 0.70, 0.95, 0.25


def night(kind: Kind, gain: float, seed: int = 0) -> Ours:
    world = World(kind, seed, gain)
    rule = Ours(world)
    spend(rule, world)
    return rule


def test_a_night_spends_its_slots_as_it_should() -> None:
    trials = list(night("equal", 2.0).study.trials.values())
    assert len(trials) == 100
    finals = [trial for trial in trials if trial.claim.finals]
    search = [trial for trial in trials[5:] if not trial.claim.finals]
    ideas = [trial for trial in search if trial.claim.operator is Operator.TUNE]
    assert len(finals) == 20 and finals == trials[80:]
    assert len(ideas) >= 0.8 * len(search)


def test_a_few_nights_of_nulls_keep_next_to_nothing() -> None:
    for kind in KINDS:
        assert sum(held for held, _, _ in verdicts.series("ours", kind, 0.0, range(4))) <= 1


def test_a_gain_of_three_sigma_is_nearly_always_found_and_told_as_it_is() -> None:
    nights = verdicts.series("ours", "equal", 3.0, range(10))
    found = [(true, shown) for held, true, shown in nights if held and true > 0 and shown is not None]
    assert len(found) >= 7  # 0.965 of 400
    assert abs(sum(shown - true for true, shown in found) / len(found)) <= 0.6


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_goals_are_met_in_a_thousand_nights() -> None:
    for row in verdicts.rows(1000, ["ours"], list(KINDS)):
        print(row)
        assert isinstance(row["false_nights"], float) and row["false_nights"] <= GOAL_FALSE
        assert isinstance(row["told_minus_true_sigma"], float) and row["told_minus_true_sigma"] <= GOAL_TOLD
        if row["night"] == "equal":
            assert isinstance(row["power_2_sigma"], float) and row["power_2_sigma"] >= GOAL_TWO
            assert isinstance(row["power_3_sigma"], float) and row["power_3_sigma"] >= GOAL_THREE
