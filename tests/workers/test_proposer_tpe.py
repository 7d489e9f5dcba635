"""The sampler over declared constants: new, inside the space, deterministic, away from what runs."""

import math
import warnings

import pytest
from factories.briefings import PROGRAM, attempt, briefing, view

from swarm.program.constants import changed, parse
from swarm.program.families import family_of
from workers.proposers import ProposalFailed
from workers.proposers.evidence import observations
from workers.proposers.spaces import searched, values_of
from workers.proposers.tpe import MOVED, TpeProposer, _Estimator


def history(count=12, best=3e-2):
    """Runs of the learning rate alone: the closer to `best`, the better."""
    rates = [10 ** (-4 + 3 * index / (count - 1)) for index in range(count)]
    return tuple(
        attempt(f"t{index + 2:04d}", {"MAX_LR": float(f"{rate:.3g}")}, 1.9 + 0.2 * abs(math.log10(rate / best)))
        for index, rate in enumerate(rates)
    )


def test_moves_at_most_a_few_constants_inside_their_spaces():
    for seed in range(30):
        proposal = TpeProposer().propose(briefing(seed=seed))
        moves = changed(PROGRAM, proposal.source)
        constants = parse(proposal.source)
        assert 1 <= len(moves) <= MOVED
        assert all(constants[name].space.contains(constants[name].value) for name in moves)
        assert "CLASSES" not in moves
        assert all(name in proposal.description for name in moves)
        assert all(f"{new:.3g}" == f"{new:g}" for _, new in moves.values() if isinstance(new, float))


def test_plain_sampling_moves_all_of_them():
    moves = changed(PROGRAM, TpeProposer(moved=None).propose(briefing(seed=3)).source)
    assert len(moves) > MOVED


def test_same_briefing_same_proposal():
    told = briefing(history(), seed=5)
    assert TpeProposer().propose(told) == TpeProposer().propose(told)
    assert len({TpeProposer().propose(briefing(history(), seed=seed)).source for seed in range(8)}) > 4


def test_a_sample_that_was_not_taken_moves_no_later_one():
    """A turn asks one estimator again and again; a rejected sample must not count as a trial that runs."""
    told, spaces = briefing(history(), seed=5), searched(PROGRAM)
    free, fixed = tuple(spaces), values_of(PROGRAM)
    fresh = _Estimator(spaces, observations(told)).sample(fixed, free, 7)
    used = _Estimator(spaces, observations(told))
    for seed in range(20):
        used.sample(fixed, free, seed)
    assert used.sample(fixed, free, 7) == fresh


def test_learns_from_the_attempts():
    sources = [TpeProposer().propose(briefing(history(30), seed=seed)).source for seed in range(40)]
    rates = [parse(source)["MAX_LR"].value for source in sources if "MAX_LR" in changed(PROGRAM, source)]
    near = [rate for rate in rates if 1e-2 <= rate <= 9e-2]
    assert len(rates) > 5
    assert len(near) > 0.8 * len(rates)


def test_a_failed_attempt_is_no_bad_loss():
    """Failures teach the sampler nothing, so it proposes what it would without them."""
    failed = tuple(
        attempt(f"t{index + 50:04d}", {"MAX_LR": 0.1 - index / 1000}, standing="failed", reason="out_of_memory")
        for index in range(8)
    )
    for seed in range(5):
        with_failures = TpeProposer().propose(briefing(history() + failed, seed=seed))
        assert with_failures.source == TpeProposer().propose(briefing(history(), seed=seed)).source


def test_keeps_away_from_what_runs():
    """The constant liar: runs in progress push a second worker elsewhere, also those from another parent."""
    running = tuple(
        attempt(f"t{index + 50:04d}", {"MAX_LR": 0.02 + index / 1000}, agent_id="worker_2", parent="t0002")
        for index in range(20)
    )

    def near(attempts):
        sources = [TpeProposer().propose(briefing(attempts, seed=seed)).source for seed in range(30)]
        rates = [parse(source)["MAX_LR"].value for source in sources if "MAX_LR" in changed(PROGRAM, source)]
        return sum(0.02 <= rate <= 0.04 for rate in rates) / len(rates)

    assert near(history(30) + running) < 0.7 * near(history(30))


def test_does_not_repeat_a_claimed_change():
    one_choice = 'MODE = "a"  # search: {"a", "b", "c"}\n'
    claimed = attempt("t0002", {"MODE": "b"}, base=one_choice)
    told = briefing((claimed,), incumbent=view(one_choice))
    assert changed(one_choice, TpeProposer().propose(told).source) == {"MODE": ("a", "c")}
    both = (claimed, attempt("t0003", {"MODE": "c"}, 2.1, base=one_choice))
    with pytest.raises(ProposalFailed, match="search_exhausted"):
        TpeProposer().propose(briefing(both, incumbent=view(one_choice)))


def test_cites_best_and_worst_and_predicts_from_neighbours():
    proposals = [TpeProposer().propose(briefing(history(30), seed=seed)) for seed in range(10)]
    for proposal in proposals:
        assert proposal.cites
        moves = changed(PROGRAM, proposal.source)
        assert (proposal.expects is not None) == ("MAX_LR" in moves)
    assert any(proposal.expects is not None and proposal.expects < 0 for proposal in proposals)


def test_without_any_attempt_nothing_is_cited_or_expected():
    proposal = TpeProposer().propose(briefing())
    assert proposal.cites == ()
    assert proposal.expects is None


def test_cooled_families_are_left_alone():
    for seed in range(20):
        told = briefing(cooled_families=("optimiser", "architecture"), seed=seed)
        moves = changed(PROGRAM, TpeProposer().propose(told).source)
        assert not {"optimiser", "architecture"} & {family_of(name) for name in moves}


def test_constants_outside_their_space_or_of_another_program_are_skipped():
    odd = attempt("t0002", {"MAX_LR": 5.0, "DROPOUT": 0.1}, 1.8)
    foreign = odd.model_copy(update={"trial_id": "t0003", "constants": {"OTHER": 1}, "changed": {}})
    assert TpeProposer().propose(briefing((odd, foreign))).source


def test_a_program_without_a_space_is_refused():
    with pytest.raises(ProposalFailed, match="no_search_space"):
        TpeProposer().propose(briefing(incumbent=view("A = 1\n")))


def test_optuna_stays_silent(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TpeProposer().propose(briefing(history()))
    assert capsys.readouterr() == ("", "")


def test_another_turn_is_another_proposal():
    first = [TpeProposer().propose(briefing(seed=seed, attempts_left=2)).source for seed in range(8)]
    second = [TpeProposer().propose(briefing(seed=seed, attempts_left=1)).source for seed in range(8)]
    assert sum(a == b for a, b in zip(first, second, strict=True)) <= 1


def test_a_converged_sampler_looks_elsewhere():
    """When everything that it would draw was tried, it draws by lot and does not give up."""
    source = "A = 0  # search: int(0, 30)\n"
    tried = tuple(
        attempt(f"t{place + 2:04d}", {"A": place}, 1.0 + abs(place - 3), base=source) for place in range(1, 16)
    )
    for seed in range(5):
        proposal = TpeProposer().propose(briefing(tried, incumbent=view(source), seed=seed))
        assert parse(proposal.source)["A"].value > 15
