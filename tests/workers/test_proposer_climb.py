"""The pattern search: further where it helped, round and halved where it failed, near misses together."""

import pytest
from factories.briefings import PROGRAM, attempt, briefing, view

from swarm.program.constants import assign, changed
from workers.proposers import ProposalFailed
from workers.proposers.climb import ClimbProposer

RATE = "MAX_LR = 1e-2  # search: log(1e-4, 1e-1)\nCLASSES = 10\n"


def moved(told, base=None):
    return changed(base or told.incumbent.source, ClimbProposer().propose(told).source)


def climb_rates(outcomes, source=RATE):
    """Proposed rates while every one ends as told, from one incumbent."""
    attempts, rates = [], []
    for index, outcome in enumerate(outcomes):
        rate = moved(briefing(tuple(attempts), incumbent=view(source)), source)["MAX_LR"][1]
        loss = None if outcome == "running" else 2.1
        attempts.append(attempt(f"t{index + 2:04d}", {"MAX_LR": rate}, loss, base=source, standing=outcome))
        rates.append(rate)
    return rates


def test_goes_on_in_the_direction_that_helped_half_as_far_again():
    kept = attempt("t0002", {"MAX_LR": 0.02}, 1.9, standing="leading")
    incumbent = view(assign(PROGRAM, {"MAX_LR": 0.02}), "t0002", 1.9)
    assert moved(briefing((kept,), incumbent=incumbent)) == {"MAX_LR": (0.02, pytest.approx(0.02 * 2**1.5, rel=0.01))}


def test_turns_round_after_a_failure_and_halves_after_two():
    first, second, third, fourth = climb_rates(["discarded"] * 4)
    assert {first, second} == {0.02, 0.005}
    assert sorted((third, fourth)) == pytest.approx([0.01 / 2**0.5, 0.01 * 2**0.5], rel=0.01)
    assert (third > 0.01) == (first > 0.01)


def test_a_step_in_progress_is_not_taken_twice():
    rates = climb_rates(["running", "running", "discarded"])
    assert len(set(rates)) == 3


def test_gives_up_when_the_steps_are_too_small_to_tell_apart():
    with pytest.raises(ProposalFailed, match="search_exhausted"):
        climb_rates(["discarded"] * 12)


def test_the_edge_of_the_space_is_respected():
    edge = "MAX_LR = 0.09  # search: log(1e-4, 1e-1)\n"
    assert max(climb_rates(["discarded"] * 5, edge)) <= 0.1


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("DEPTH = 3  # search: int(2, 6)\n", {2, 4}),
        ("DROPOUT = 0.1  # search: linear(0, 0.4)\n", {0.0, 0.2}),
        ('ACTIVATION = "relu"  # search: {"relu", "gelu", "silu"}\n', {"gelu"}),
        ("EMA = False  # search: {True, False}\n", {True}),
    ],
)
def test_first_steps_of_each_kind(source, expected):
    ((_, new),) = moved(briefing(incumbent=view(source))).values()
    assert new in expected
    assert type(new) is type(next(iter(expected)))


@pytest.mark.parametrize("seed", range(8))
def test_what_is_searched_by_its_logarithm_comes_first(seed):
    source = (
        "WARM_UP = 0.1  # search: linear(0, 0.4)\nBETA2 = 0.9  # search: {0.9, 0.95}\n"
        "MAX_LR = 1e-2  # search: log(1e-4, 1e-1)\nWEIGHT_DECAY = 1e-3  # search: log(1e-5, 1e-1)\n"
    )
    attempts = ()
    for name in ("MAX_LR", "MAX_LR", "WEIGHT_DECAY", "WEIGHT_DECAY"):
        ((moved_name, (_, value)),) = moved(briefing(attempts, incumbent=view(source), seed=seed), source).items()
        assert moved_name == name
        number = f"t{len(attempts) + 2:04d}"
        attempts = (*attempts, attempt(number, {name: value}, 2.1, base=source, standing="discarded"))


def test_bundles_two_near_misses_before_fresh_constants():
    misses = (
        attempt("t0002", {"DROPOUT": 0.1}, 1.99),
        attempt("t0003", {"DEPTH": 4}, 1.995),
        attempt("t0004", {"ACTIVATION": "gelu"}, 2.05),
    )
    told = briefing(misses)
    proposal = ClimbProposer().propose(told)
    assert changed(PROGRAM, proposal.source) == {"DROPOUT": (0.0, 0.1), "DEPTH": (3, 4)}
    assert set(proposal.cites) >= {"t0002", "t0003"}
    assert proposal.expects == pytest.approx(-0.015)
    bundled = attempt("t0005", {"DROPOUT": 0.1, "DEPTH": 4}, 2.01)
    assert len(moved(briefing((*misses, bundled)))) == 1


def test_a_near_miss_from_another_value_no_longer_applies():
    stale = attempt("t0002", {"DROPOUT": 0.1}, 1.99, changed={"DROPOUT": (0.3, 0.1)})
    other = attempt("t0003", {"DEPTH": 4}, 1.99)
    assert len(moved(briefing((stale, other)))) == 1


def test_cooled_families_come_last():
    for seed in range(10):
        told = briefing(cooled_families=("optimiser", "architecture", "regularisation"), seed=seed)
        assert set(moved(told)) <= {"ACTIVATION", "EMA"}


def test_deterministic():
    told = briefing((attempt("t0002", {"DROPOUT": 0.1}, 2.1),), seed=4)
    assert ClimbProposer().propose(told) == ClimbProposer().propose(told)


def test_nothing_declared_nothing_proposed():
    with pytest.raises(ProposalFailed, match="search_exhausted"):
        ClimbProposer().propose(briefing(incumbent=view("A = 1\n")))


def test_after_a_refusal_the_next_step_is_proposed():
    assert moved(briefing()) != moved(briefing(refusal="duplicate of t0009"))


def test_a_setting_that_was_tried_from_another_parent_is_passed_over():
    """The gate refuses a program that was tried from anywhere."""
    mode = 'MODE = "b"  # search: {"a", "b", "c"}\n'
    elsewhere = attempt("t0002", {"MODE": "c"}, 2.1, base=mode, parent="t0009")
    assert moved(briefing((elsewhere,), incumbent=view(mode))) == {"MODE": ("b", "a")}


def test_the_way_back_to_the_root_is_passed_over():
    """The root is no attempt, and the gate knows it all the same."""
    mode = 'MODE = "b"  # search: {"a", "b"}\n'
    leader = attempt("t0002", {"MODE": "b"}, 1.9, base=mode.replace('"b"  #', '"a"  #'), standing="leading")
    with pytest.raises(ProposalFailed, match="search_exhausted"):
        ClimbProposer().propose(briefing((leader,), incumbent=view(mode, "t0002")))
