"""The default sampler: new, inside the space, deterministic; it learns from results, noise, structure and failures."""

import math
import time

import numpy as np
import pytest
from factories.briefings import PROGRAM, attempt, briefing, view

from swarm.program.constants import changed, parse
from swarm.program.families import family_of
from workers.proposers import ProposalFailed
from workers.proposers.evidence import structures
from workers.proposers.known_points import MOST_POINTS, KnownPoints, standardised
from workers.proposers.model_based import STARTS, ModelBasedProposer, _free, _score, _starts, _what_matters, most_moved
from workers.proposers.spaces import searched, unit

BEST = 3e-2


def loss(rate, best=BEST):
    return 1.9 + 0.2 * abs(math.log10(rate / best))


def history(count=12, best=BEST, first=2, **fields):
    """Runs of the learning rate alone: the closer to `best`, the better."""
    rates = [float(f"{10 ** (-4 + 3 * index / max(1, count - 1)):.3g}") for index in range(count)]
    return tuple(
        attempt(f"t{index + first:04d}", {"MAX_LR": rate}, loss(rate, best), **fields)
        for index, rate in enumerate(rates)
    )


def moves(told):
    return changed(PROGRAM, ModelBasedProposer().propose(told).source)


def rates(*attempts, seeds=4, **fields):
    """The learning rates that are proposed."""
    found = [moves(briefing(attempts, seed=seed, sigma=0.01, **fields)) for seed in range(seeds)]
    return [move["MAX_LR"][1] for move in found if "MAX_LR" in move]


def test_moves_stay_inside_their_spaces_and_are_named():
    for seed in range(4):
        proposal = ModelBasedProposer().propose(briefing(history(), seed=seed))
        new = changed(PROGRAM, proposal.source)
        constants = parse(proposal.source)
        assert new and "CLASSES" not in new
        assert all(constants[name].space.contains(constants[name].value) for name in new)
        assert all(name in proposal.description for name in new)
        assert all(f"{value:.3g}" == f"{value:g}" for _, value in new.values() if isinstance(value, float))


def test_same_briefing_same_proposal_and_after_a_refusal_another_one():
    told = briefing(history(), seed=5, attempts_left=2)
    assert ModelBasedProposer().propose(told) == ModelBasedProposer().propose(told)
    refused = briefing(history(), seed=5, attempts_left=1, refusal="that was tried")
    assert ModelBasedProposer().propose(refused).source != ModelBasedProposer().propose(told).source


def test_it_finds_the_best_rate_of_a_curve():
    found = rates(*history(8))
    assert len(found) == 4
    assert all(1e-2 <= rate <= 9e-2 for rate in found)


def test_it_finds_a_choice_that_helps_where_it_is_untried_with_the_best_rate():
    """Two effects that were seen apart are put together: the rate of one attempt and the choice of another."""
    other = tuple(
        attempt(f"t{index + 40:04d}", {"ACTIVATION": "gelu", "MAX_LR": rate}, loss(rate) - 0.3)
        for index, rate in enumerate((1e-4, 1e-3, 5e-3))
    )
    found = [moves(briefing((*history(), *other), seed=seed, sigma=0.01)) for seed in range(3)]
    assert all(move["ACTIVATION"][1] == "gelu" and 5e-3 < move["MAX_LR"][1] < 0.1 for move in found)


def test_a_lucky_run_counts_less_than_a_mean_of_many():
    """A program far below its neighbours looks better after five runs than after one, with the same mean."""
    spaces = searched(PROGRAM)

    def expected(replicates):
        lucky = attempt("t0090", {"MAX_LR": 3e-4}, 1.7, replicates=replicates)
        known = KnownPoints(spaces, briefing((*history(), lucky)))
        process = _score(known, 0.2).process
        return process.predict(known.scored)[0][0]

    assert expected(5) < expected(1)


def test_replicates_lower_the_noise_of_their_mean():
    values, once = standardised(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 1.0]), 0.1)
    again, often = standardised(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 1.0]), 0.1)
    assert (values == again).all() and once[1] == pytest.approx(4 * often[1]) and once[0] == often[0]
    told = (*history(3), attempt("t0090", {"MAX_LR": 2e-2}, 1.5, replicates=5))
    known = KnownPoints(searched(PROGRAM), briefing(told))
    assert sorted(known.runs) == [1, 1, 1, 1, 5] and known.costs[0] == 1.5 and known.runs[0] == 5


def test_a_loss_of_a_million_leaves_the_differences_between_the_others():
    costs = np.array([1.0, 2.0, 3.0, 3.5, 9.0])
    values, _ = standardised(costs, np.ones(5), 0.1)
    worse, _ = standardised(np.array([*costs[:4], 1e8]), np.ones(5), 0.1)
    assert worse == pytest.approx(values) and worse[4] > worse[3]


def tuning(moved, cost, number):
    places = ["MAX_LR", "DROPOUT", "DEPTH", "ACTIVATION", "EMA"][:moved]
    news = {"MAX_LR": 2e-2, "DROPOUT": 0.1 + number / 100, "DEPTH": 4, "ACTIVATION": "gelu", "EMA": True}
    return attempt(f"t{number:04d}", {name: news[name] for name in places}, cost)


def test_as_many_constants_are_moved_as_went_well():
    good, bad = (lambda number: tuning(5, 1.0, number)), (lambda number: tuning(5, 3.0, number))
    anchors = tuple(tuning(1, 1.2 + number / 10, 20 + number) for number in range(12))
    assert most_moved(briefing(())) == most_moved(briefing(anchors)) == 4, "one at a time says nothing about many"
    assert most_moved(briefing((*anchors, good(4)))) == 8
    assert most_moved(briefing((*anchors, good(4), bad(5)))) == 4
    assert most_moved(briefing((*anchors, *map(bad, range(4, 12))))) == 2
    helps = {"MAX_LR": 2e-2, "DROPOUT": 0.2, "DEPTH": 5, "ACTIVATION": "gelu", "EMA": True}
    singly = tuple(attempt(f"t{30 + at}", dict([item]), 1.6) for at, item in enumerate(helps.items()))
    spaces = searched(PROGRAM)
    known = KnownPoints(spaces, briefing(singly))
    together = np.array([unit(space, helps[name]) for name, space in spaces.items()])
    promise = _score(known, 0.01)
    places = {most: _what_matters(promise, together, known.own, most)[1] for most in (2, 3, 32)}
    assert len(places[2]) == 2 and len(places[3]) == 3 and len(places[32]) > 3
    assert set(places[2]) < set(places[3]) < set(places[32]), "what matters least is left out first"


def test_constant_losses_no_noise_and_a_single_result_still_give_a_proposal():
    same = tuple(attempt(f"t{n + 2:04d}", {"MAX_LR": 0.01 + n / 1000}, 2.0) for n in range(6))
    for told in (same, same[:1], ()):
        for sigma in (None, 0.0, 0.05):
            assert ModelBasedProposer().propose(briefing(told, sigma=sigma)).source != PROGRAM


def test_duplicates_and_results_that_are_no_number_do_no_harm():
    twice = tuple(attempt(f"t{n + 2:04d}", {"MAX_LR": 0.02}, 1.9 + n / 100) for n in range(8))
    odd = tuple(
        attempt(f"t{n + 40:04d}", {"MAX_LR": 0.05}, 2.0).model_copy(update={"cost": cost})
        for n, cost in enumerate((math.nan, math.inf, 1e30))
    )
    assert ModelBasedProposer().propose(briefing((*twice, *odd))).source
    assert len(KnownPoints(searched(PROGRAM), briefing((*twice, *odd))).costs) == 10


def score(*attempts, rate):
    """What the search sees in a rate: the logarithm of the expected improvement."""
    spaces = searched(PROGRAM)
    known = KnownPoints(spaces, briefing(attempts))
    position = known.own.copy()
    position[list(spaces).index("MAX_LR")] = unit(spaces["MAX_LR"], rate)
    return _score(known, 0.01)(position[None])[0]


def test_a_failed_attempt_is_no_bad_loss_and_keeps_the_search_away():
    failed = tuple(
        attempt(f"t{n + 50:04d}", {"MAX_LR": 0.04}, standing="failed", reason="out_of_memory") for n in range(3)
    )
    assert len(KnownPoints(searched(PROGRAM), briefing((*history(), *failed))).costs) == 13
    lower = score(*history(), rate=0.04) - score(*history(), *failed, rate=0.04)
    elsewhere = score(*history(), rate=1e-4) - score(*history(), *failed, rate=1e-4)
    assert lower > 0.3 > lower / 2 > elsewhere > -1e-9


def test_keeps_away_from_what_runs():
    running = attempt("t0050", {"MAX_LR": 0.04}, agent_id="worker_2")
    assert score(*history(6), running, rate=0.04) < score(*history(6), rate=0.04) - 0.5


def test_results_of_another_structure_teach_the_shape_and_not_the_level():
    edit = attempt("t0030", {}, 1.2, operator="structural", family="loss")
    children = tuple(
        attempt(f"t{n + 31:04d}", {"MAX_LR": rate}, 1.0 + 0.8 * abs(math.log10(rate / BEST)), parent="t0030")
        for n, rate in enumerate((1e-4, 1e-3, 5e-3, 2e-2, 5e-2, 0.1))
    )
    told = briefing((edit, *children))
    assert structures(told)["t0031"] == {"t0030"} and structures(told)["t0030"] == {"t0030"}
    assert score(edit, *children, rate=3e-2) > score(edit, *children, rate=1e-3)
    assert any(5e-3 <= rate <= 0.1 for rate in rates(edit, *children))


def test_constants_that_other_programs_lack_are_lacking():
    bare = PROGRAM.replace("DROPOUT", "OTHER")
    without = attempt("t0002", {"MAX_LR": 0.02}, 1.8, base=bare)
    known = KnownPoints(searched(PROGRAM), briefing((without,)))
    lacking = list(searched(PROGRAM)).index("DROPOUT")
    assert np.isnan(known.scored.units[known.costs == 1.8][0, lacking])
    assert not np.isnan(known.projected()).any()
    assert ModelBasedProposer().propose(briefing((without,))).source


def test_a_value_outside_its_own_space_is_no_reason_to_fail():
    odd = view(PROGRAM.replace("MAX_LR = 1e-2", "MAX_LR = 50.0"))
    assert ModelBasedProposer().propose(briefing(history(), incumbent=odd)).source


def test_a_covariance_without_a_root_falls_back_to_lot(monkeypatch):
    def none(*_):
        raise np.linalg.LinAlgError("no root")

    monkeypatch.setattr("workers.proposers.model_based.fitted", none)
    proposal = ModelBasedProposer().propose(briefing(history()))
    assert proposal.description.startswith("by lot") and changed(PROGRAM, proposal.source)


def test_does_not_repeat_a_claimed_change():
    one_choice = 'MODE = "a"  # search: {"a", "b", "c"}\n'
    claimed = attempt("t0002", {"MODE": "b"}, base=one_choice)
    told = briefing((claimed,), incumbent=view(one_choice))
    assert changed(one_choice, ModelBasedProposer().propose(told).source) == {"MODE": ("a", "c")}
    both = (claimed, attempt("t0003", {"MODE": "c"}, 2.1, base=one_choice))
    with pytest.raises(ProposalFailed, match="search_exhausted"):
        ModelBasedProposer().propose(briefing(both, incumbent=view(one_choice)))


def test_half_of_the_starts_are_the_most_promising_of_many_places():
    spaces, told = searched(PROGRAM), briefing(history(), cooled_families=(family_of("DROPOUT"),))
    known, free = KnownPoints(spaces, told), _free(told, spaces)
    promise = _score(known, 0.05)
    starts = _starts(known, promise, free, np.random.default_rng(0))
    assert len(starts) == 2 * STARTS
    held = [place for place in range(len(spaces)) if place not in free]
    assert held and (starts[:, held] == known.own[held]).all()
    anywhere = np.random.default_rng(1).random((200, len(spaces)))
    anywhere[:, held] = known.own[held]
    assert promise(starts[STARTS:]).min() > np.quantile(promise(anywhere), 0.9)
    assert len(np.unique(starts[STARTS:], axis=0)) == STARTS, "places of their own"


def test_cooled_families_are_left_alone():
    for seed in range(4):
        told = briefing(history(), cooled_families=("optimiser", "architecture"), seed=seed)
        assert not {"optimiser", "architecture"} & {family_of(name) for name in moves(told)}


def test_a_program_without_a_space_is_refused():
    with pytest.raises(ProposalFailed, match="no_search_space"):
        ModelBasedProposer().propose(briefing(incumbent=view("A = 1\n")))


def test_cites_and_predicts():
    proposals = [ModelBasedProposer().propose(briefing(history(30), seed=seed)) for seed in range(4)]
    assert all(proposal.cites and proposal.proposer == "model-based" for proposal in proposals)
    assert any(proposal.expects is not None and proposal.expects < 0 for proposal in proposals)


def test_of_very_many_programs_the_best_and_the_latest_count():
    many = history(MOST_POINTS + 50)
    known = KnownPoints(searched(PROGRAM), briefing(many))
    assert len(known.costs) == MOST_POINTS and known.costs[0] == min(a.cost for a in many)
    assert (np.diff(known.costs) >= 0).all()


@pytest.mark.slow
def test_a_proposal_at_500_trials_takes_less_than_a_second():
    """Of CPU time: a machine may be busy."""
    source = "".join(f"C{n} = 0.5  # search: linear(0, 1)\n" for n in range(20))
    rng = np.random.default_rng(0)
    many = tuple(
        attempt(
            f"t{n:04d}", {f"C{k}": float(rng.random()) for k in rng.choice(20, 3)}, float(rng.random()), base=source
        )
        for n in range(2, 502)
    )
    told = briefing(many, incumbent=view(source), sigma=0.1)
    ModelBasedProposer().propose(told)
    started = time.process_time()
    ModelBasedProposer().propose(told)
    assert time.process_time() - started < 1.0
