"""Error control of whole nights, simulated through the functions of `swarm up`.

The nights and the rule are those of `benchmarks/verdicts.py`, which prints the figures of docs/verdicts.md.
"""

import sys
from pathlib import Path
from typing import Any

import pytest
from factories.studies import FakeStudy

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import verdicts

from swarm.cli.verdicts import night_of, planned_text
from swarm.errors import UsageError
from swarm.records import Operator
from swarm.verdict import planning, simulation
from swarm.verdict.nights import KINDS, Kind, World, spend
from swarm.verdict.simulation import Ours, Terms

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


def test_the_unit_of_the_objective_changes_no_night_beyond_the_prior() -> None:
    """The prior has a scale of its own below a sigma of 0.012, so the units compared are above it."""
    same = [simulation.nights(Terms(40, sigma, 2, 5), 3.0, range(3)) for sigma in (1.0, 0.5)]
    assert [(one.kept, one.true_gain) for one in same[0]] == [(one.kept, one.true_gain) for one in same[1]]
    for one, other in zip(*same, strict=True):
        assert (one.shown_gain is None) == (other.shown_gain is None)
        assert one.shown_gain is None or other.shown_gain is None or abs(one.shown_gain - other.shown_gain) < 1e-9


def test_more_slots_find_more() -> None:
    few, many = (simulation.nights(Terms(slots, 1.0, 2, 5), 3.0, range(8)) for slots in (30, 100))
    assert sum(one.found for one in few) < sum(one.found for one in many)


class TestPlanning:
    def measured(self, **opened: Any) -> FakeStudy:
        fake = FakeStudy(**opened)
        for loss in (2.00, 2.02, 1.98, 2.01, 1.99):
            fake.finish(fake.baseline(), loss)
        return fake

    def test_a_night_has_the_noise_and_the_workers_of_the_study(self) -> None:
        terms = night_of(self.measured(trials=60, workers=3).study, None)
        assert (terms.slots, terms.workers, terms.noise_runs) == (60, 3, 5)
        assert terms.sigma == pytest.approx(0.0158, abs=1e-4)
        assert night_of(self.measured().study, None).slots == 100
        assert night_of(self.measured(trials=60).study, 40).slots == 40

    def test_what_cannot_be_simulated_is_refused(self) -> None:
        with pytest.raises(UsageError, match="no noise floor yet"):
            night_of(FakeStudy().study, None)
        for slots in (0, 9, 1001):
            with pytest.raises(UsageError, match="--slots"):
                night_of(self.measured().study, slots)

    def test_the_table_counts_nights(self) -> None:
        study = self.measured().study
        terms = night_of(study, 40)
        good, bad = simulation.Night(True, 2.0, 2.5), simulation.Night(False, 0.0, None)
        told = planning.planned(study, terms, [bad] * 9 + [simulation.Night(True, 0.0, 1.0)], {2.0: [good] * 3 + [bad]})
        (row,) = told.gains
        assert (told.held, told.nights, told.false_nights.share, row.found.share) == (8, 10, 0.1, 0.75)
        assert row.told_minus_true == 0.5 and row.size == pytest.approx(2 * terms.sigma)
        assert 0.3 < row.found.low < 0.75 < row.found.high < 1.0
        text = planned_text(told, study.objective)
        assert "40 slots, 8 of them for the finals" in text and "0.0316" in text and "75%" in text


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
