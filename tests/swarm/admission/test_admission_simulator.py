"""The simulator's invariants: held by the policy, broken by the obvious bad ones."""

import time
from dataclasses import replace

import pytest

from swarm.admission.simulator import POLICIES, Peaks, PolicyName, Workload, simulate
from swarm.errors import UsageError
from swarm.gpu.reading import Attribution

CROWDED = Workload(peaks=Peaks(5_600, 0.1), spike_share=0.5)


def broken(policy: PolicyName, **options: object) -> set[str]:
    report = simulate(1, 3, 400, seed=0, policy=policy, **options)
    return {violation.invariant for violation in report.violations}


@pytest.mark.parametrize("seed", range(10))
def test_the_policy_holds_every_invariant(seed: int) -> None:
    report = simulate(1 + seed % 2, 2 + seed % 3, 150, seed=seed)
    assert report.violations == ()
    assert report.device_ooms == 0
    assert report.finished + report.infeasible == 150


@pytest.mark.parametrize("cards", [2, 3, 4])
def test_a_lost_card_ends_its_trials_and_nothing_else(cards: int) -> None:
    for seed in range(2):
        report = simulate(cards, cards + 2, 100, seed=seed, lost_at_s=2500.0)
        assert report.violations == ()
        assert 1 <= report.abandoned <= cards + 2
        assert report.finished + report.infeasible + report.abandoned == 100
        assert report.device_ooms == 0


def test_a_lost_card_needs_another_one() -> None:
    with pytest.raises(UsageError, match="where there is another"):
        simulate(1, 2, 10, lost_at_s=100.0)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(200))
def test_the_policy_holds_every_invariant_over_many_seeds(seed: int) -> None:
    report = simulate(1 + seed % 3, 2 + seed % 5, 500, seed=1000 + seed)
    assert report.violations == ()
    assert report.finished + report.infeasible == 500


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_ten_thousand_jobs_in_a_minute_of_one_core() -> None:
    began = time.process_time()
    report = simulate(1, 3, 10_000, seed=0)
    assert time.process_time() - began < 60
    assert report.violations == ()
    assert report.device_ooms == 0


def test_without_attribution_nobody_dies_for_another_and_nobody_is_killed() -> None:
    for seed in range(3):
        report = simulate(1, 3, 150, seed=seed, attribution=Attribution.UNAVAILABLE)
        # The sums are exact only where memory can be assigned (I1, I6); the promises to the jobs hold without.
        assert {violation.invariant for violation in report.violations} <= {"I1", "I6"}
        assert (report.device_ooms, report.kills) == (0, 0)


def test_counting_jobs_overbooks_and_kills_the_innocent() -> None:
    assert {"I1", "I2", "I3"} <= broken("count=3")
    assert {"I1", "I2", "I3"} <= broken("count=2")


def test_looking_at_free_memory_overbooks_and_kills_the_innocent() -> None:
    assert {"I1", "I2", "I3"} <= broken("free-memory-now")


def test_killing_on_a_spike_kills_the_innocent() -> None:
    surges = {"workload": CROWDED, "foreign_surge_mib": 16_000}
    assert "I4" in broken("kill-on-spike", **surges)
    assert "I4" not in broken("swarm", **surges)


def test_one_at_a_time_wastes_the_card() -> None:
    assert "I6" in broken("sequential")


def test_same_seed_same_log() -> None:
    """I9."""
    first, second = (simulate(2, 4, 100, seed=7) for _ in range(2))
    assert first.log_sha256 == second.log_sha256
    timeless = {"decision_p50_us": 0.0, "decision_p99_us": 0.0}
    assert replace(first, **timeless) == replace(second, **timeless)
    assert simulate(2, 4, 100, seed=8).log_sha256 != first.log_sha256


def test_concurrency_returns_after_others_have_filled_the_card() -> None:
    """I8: foreign surges beyond the headroom cause device OOMs; throttles come and go, and the pair is back."""
    report = simulate(1, 3, 300, seed=0, workload=CROWDED, foreign_surge_mib=16_000)
    assert report.device_ooms >= 2
    assert report.most_running == 3
    assert not [violation for violation in report.violations if violation.invariant in ("I5", "I8")]
    assert report.finished + report.infeasible == 300


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_brings_every_job_to_an_end(policy: PolicyName) -> None:
    report = simulate(2, 4, 60, seed=1, policy=policy)
    assert report.finished + report.infeasible == 60
