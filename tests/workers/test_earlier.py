"""What a study is told of those before it: only of the same thing, only with shared memory, never as its own."""

import pytest
from factories.briefings import PROGRAM, attempt, briefing
from test_briefing import BASE, Recorded

from swarm.errors import RepoError
from swarm.records import Budget
from swarm.study.state import StudyState
from workers.briefing.earlier import earlier_results
from workers.briefing.values import EarlierResult
from workers.proposers.evidence import earlier_observations, observations, was_tried
from workers.proposers.known_points import KnownPoints
from workers.proposers.model_based import ModelBasedProposer
from workers.proposers.spaces import searched, values_of


def studied() -> tuple[Recorded, StudyState, StudyState]:
    """A study with two results of which one is structural, and the one after it."""
    before = Recorded()
    before.change(1.9, value=0.3)
    before.change(1.7, value=0.4, parent="t0006", operator="structural")
    later = Recorded()
    later.fake.study.opened = later.fake.study.opened.model_copy(update={"study_id": "later", "seq": 1000})
    return before, before.fake.study, later.fake.study


def told(before: StudyState, study: StudyState, read=lambda _: BASE) -> tuple[EarlierResult, ...]:
    return earlier_results(study, [before, study], read)


def test_the_results_of_an_earlier_study_are_told_best_first_with_their_structure():
    _, before, study = studied()
    found = told(before, study)
    assert [item.constants["LR"] for item in found] == [0.4, 0.3, 0.1]
    assert [len(item.structure) for item in found] == [1, 0, 0]
    assert found[2].cost == found[0].baseline_cost and found[2].replicates == 5
    assert found[0].cost < found[1].cost < found[2].cost


@pytest.mark.parametrize(
    "other",
    [
        {"target": "another"},
        {"objective_sha256": "another"},
        {"data": "cifar100"},
        {"budget": Budget(kind="samples", amount=1, walltime_limit_s=1)},
        {"seq": 2000},
    ],
)
def test_one_that_measured_something_else_or_came_later_is_not(other):
    _, before, study = studied()
    before.opened = before.opened.model_copy(update=other)
    assert told(before, study) == ()


def test_one_whose_commit_is_gone_is_left_out():
    def gone(_commit: str) -> str:
        raise RepoError("no such commit")

    _, before, study = studied()
    assert told(before, study, gone) == ()


@pytest.mark.parametrize(("memory", "count"), [("shared", 3), ("own", 0), ("off", 0), ("shuffled", 0)])
def test_only_the_shared_memory_reaches_back(memory, count):
    before, earlier, _ = studied()
    assert before.brief(memory=memory, studies=[earlier]).earlier == (), "a study is no earlier one of itself"
    earlier.opened = earlier.opened.model_copy(update={"study_id": "before", "seq": -1})
    later = Recorded()
    assert len(later.brief(memory=memory, studies=[earlier]).earlier) == count


def result(**fields) -> EarlierResult:
    details = {"study_id": "old", "constants": values_of(PROGRAM), "cost": 3.0, "baseline_cost": 3.2, "replicates": 1}
    return EarlierResult.model_validate({**details, **fields})


def test_their_costs_are_moved_by_what_the_baselines_differ_in_and_they_are_not_tried_here():
    values = {**values_of(PROGRAM), "MAX_LR": 0.05}
    brief = briefing((attempt("t0002", {"MAX_LR": 0.02}, 1.9),), earlier=(result(constants=values, structure=("t7",)),))
    (found,) = earlier_observations(brief)
    assert found.cost == pytest.approx(1.8) and found.marks == {"old", "old/t7"}
    assert found not in observations(brief) and not was_tried(brief, {"MAX_LR": 0.05})
    assert len(KnownPoints(searched(PROGRAM), brief).costs) == 3


def test_a_warm_study_begins_where_the_earlier_one_ended():
    rates = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 6e-2)
    losses = (3.6, 3.4, 3.3, 3.2, 2.6, 3.0)
    earlier = tuple(
        result(constants={**values_of(PROGRAM), "MAX_LR": rate}, cost=loss)
        for rate, loss in zip(rates, losses, strict=True)
    )
    warm = ModelBasedProposer().propose(briefing(earlier=earlier)).source
    assert 1.5e-2 < values_of(warm)["MAX_LR"] < 6e-2
