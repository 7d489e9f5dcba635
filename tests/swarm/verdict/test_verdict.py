"""The rules of a verdict, each on a hand-made study. Error rates are in test_verdict_simulation."""

import math
import random

import pytest
from factories.studies import FakeStudy

from swarm import verdict
from swarm.records import Decision, FailReason, VerdictReached
from swarm.verdict import Normal, PairedDifference, decisions
from swarm.verdict.standing import Standing, is_simplification
from swarm.verdict.standing import standing as standing_of

BASELINE = (2.200, 2.212, 2.188, 2.206, 2.194)  # mean 2.2, sd 0.0095


@pytest.fixture
def fake() -> FakeStudy:
    fake = FakeStudy()
    for loss in BASELINE:
        fake.finish(fake.baseline(), loss)
    return fake


def standing(fake: FakeStudy, program: str) -> VerdictReached:
    found = fake.study.programs[program].verdict
    assert found is not None
    return found


def test_the_noise_floor_pools_within_groups_only() -> None:
    groups = [[1.0, 3.0], [10.0, 14.0, 12.0], [99.0]]
    assert verdict.noise_floor(groups) == pytest.approx(math.sqrt((2 + 8) / 3))
    assert verdict.noise_floor([[1.0], [2.0]]) is None
    assert verdict.noise_floor([]) is None


def test_the_first_run_of_a_changed_program_is_no_noise_measurement(fake: FakeStudy) -> None:
    before = verdict.study_noise(fake.study)
    lucky = fake.try_change(loss=2.10)
    fake.replicate(lucky, 2.25)
    assert verdict.study_noise(fake.study) == before
    fake.replicate(lucky, 2.24)
    after = verdict.study_noise(fake.study)
    assert before is not None and after is not None and (before.degrees, after.degrees) == (4, 5)


@pytest.mark.parametrize(("degrees", "t"), [(4, 2.0), (4, 8.0), (5, 3.0), (8, 5.0), (9, 0.5), (24, 3.5)])
def test_students_tail_agrees_with_integration(degrees: int, t: float) -> None:
    def density(x: float) -> float:
        scale = math.gamma((degrees + 1) / 2) / math.gamma(degrees / 2) / math.sqrt(degrees * math.pi)
        return scale * (1 + x * x / degrees) ** (-(degrees + 1) / 2)

    step, far = 0.005, 400
    exact = sum(density(t + (index + 0.5) * step) for index in range(int(far / step))) * step
    assert verdict.student_tail(t, degrees) == pytest.approx(exact, rel=0.001)
    assert verdict.student_tail(-t, degrees) == pytest.approx(1 - exact, rel=0.01)


def test_the_posterior_agrees_with_integration() -> None:
    challenger, reference, sigma, prior = [2.18, 2.19], [2.2, 2.21, 2.19], 0.012, Normal(0.01, 0.03)
    difference, error = -0.015, 0.012 * math.sqrt(1 / 2 + 1 / 3)
    grid = [(-0.3 + 0.0001 * (index + 0.5)) for index in range(6000)]
    weight = [math.exp(-(((x - difference) / error) ** 2) / 2 - (((x - prior.mean) / prior.sd) ** 2) / 2) for x in grid]
    exact = sum(w for x, w in zip(grid, weight, strict=True) if x < 0) / sum(weight)
    assert verdict.probability_better(challenger, reference, sigma, prior) == pytest.approx(exact, abs=1e-4)


def test_a_posterior_without_noise_or_without_runs() -> None:
    assert verdict.probability_better([1.0], [2.0], 0.0) == 1.0
    assert verdict.probability_better([2.0], [2.0], 0.0) == 0.0
    with pytest.raises(ValueError, match="at least one cost"):
        verdict.probability_better([], [2.0], 0.1)


def test_pairing_measures_the_images_and_can_only_widen_the_error() -> None:
    pair = verdict.paired_difference([[1.0, 2.0, 3.0]], [[2.0, 2.0, 5.0], [2.0, 4.0, 5.0]])
    assert (pair.mean, pair.images) == (pytest.approx(-4 / 3), 3)
    assert pair.standard_error == pytest.approx(math.sqrt(1 / 3 / 3))
    assert verdict.standard_error(0.01, 2, 2, PairedDifference(0, 0.05, 5000)) == 0.05
    assert verdict.standard_error(0.01, 2, 2, PairedDifference(0, 0.001, 5000)) == pytest.approx(0.01)


@pytest.mark.parametrize("rows", [([], [[1.0, 2.0]]), ([[1.0]], [[1.0]]), ([[1.0, 2.0]], [[1.0, 2.0, 3.0]])])
def test_pairing_needs_the_same_images(rows: tuple[list[list[float]], list[list[float]]]) -> None:
    with pytest.raises(ValueError, match="same two or more images"):
        verdict.paired_difference(*rows)


def test_the_levels_of_a_whole_study_add_up_to_the_promised_error() -> None:
    assert sum(verdict.confirmation_level(position) for position in range(1, 100_000)) <= 0.05
    assert verdict.confirmation_level(7, keeps=2) == pytest.approx(3 * verdict.confirmation_level(7))


def test_no_verdict_before_the_noise_floor_then_all_at_once() -> None:
    fake = FakeStudy(noise_replicates=3)
    fake.finish(fake.baseline(), 2.2)
    early = fake.try_change(loss=2.5, parent="t0001")
    fake.finish(fake.baseline(), 2.21)
    assert fake.study.verdicts == []
    last = fake.baseline()
    fake.finish(last, 2.19)
    assert [found.program for found in fake.study.verdicts] == [early]
    assert verdict.judge(fake.study, last) is None  # the baseline is what others are judged against


def test_a_failure_is_no_verdict(fake: FakeStudy) -> None:
    trial = fake.claim(parent="t0001")
    fake.fail(trial, FailReason.DIVERGED)
    assert verdict.judge(fake.study, trial) is None
    assert verdict.conclude(fake.study, trial) == []
    with pytest.raises(KeyError):
        verdict.judge(fake.study, "t0999")


@pytest.mark.parametrize(
    ("loss", "decision", "level", "leads"),
    [
        (2.17, Decision.INCONCLUSIVE, "provisional", True),
        (2.10, Decision.INCONCLUSIVE, "provisional", True),  # never kept on one seed
        (2.20, Decision.INCONCLUSIVE, "none", False),
        (2.25, Decision.DISCARD, "none", False),
    ],
)
def test_the_first_run(fake: FakeStudy, loss: float, decision: Decision, level: str, leads: bool) -> None:
    found = standing(fake, fake.try_change(loss=loss))
    assert (found.decision, found.level, found.leads) == (decision, level, leads)
    assert found.delta == pytest.approx(loss - 2.2)
    assert (found.replicates, found.parent_replicates, found.parent) == (1, 5, "t0001")
    assert found.probability_incumbent == found.probability


def test_luck_is_rolled_back_and_the_parent_leads_again(fake: FakeStudy) -> None:
    lucky = fake.try_change(loss=2.18)
    assert fake.study.incumbent is fake.study.programs[lucky]
    fake.replicate(lucky, 2.23)
    assert standing(fake, lucky).decision == Decision.DISCARD
    assert fake.study.incumbent is fake.study.baseline


def test_what_looks_no_better_after_a_replicate_falls_at_once(fake: FakeStudy) -> None:
    lucky = fake.try_change(loss=2.18)
    fake.replicate(lucky, 2.224)
    found = standing(fake, lucky)
    assert 0.3 < found.probability < 0.5  # one run would be inconclusive at that
    assert found.decision == Decision.DISCARD and fake.study.incumbent is fake.study.baseline


def test_a_keep_needs_its_posterior_whatever_the_level_allows(fake: FakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "confirmation_level", lambda position, keeps: 1.0)
    good = fake.try_change(loss=2.190)
    fake.replicate(good, 2.190)
    fake.replicate(good, 2.190)
    assert 0.70 < standing(fake, good).probability < 0.95
    assert standing(fake, good).decision == Decision.INCONCLUSIVE


def test_verdicts_do_not_depend_on_the_scale_of_the_noise() -> None:
    """The same study with ten times the noise and ten times the gain."""
    found = []
    for scale in (1.5, 15.0):
        fake = FakeStudy()
        for loss in BASELINE:
            fake.finish(fake.baseline(), 2.2 + scale * (loss - 2.2))
        found.append(standing(fake, fake.try_change(loss=2.2 - scale * 0.02)))
    assert found[0].probability == pytest.approx(found[1].probability)


def test_a_gain_is_kept_at_three_seeds_and_not_before(fake: FakeStudy) -> None:
    good = fake.try_change(loss=2.10)
    fake.replicate(good, 2.10)
    assert standing(fake, good).level == "provisional"
    fake.replicate(good, 2.101)
    found = standing(fake, good)
    assert (found.decision, found.level, found.leads) == (Decision.KEEP, "confirmed", True)
    assert not is_simplification(found)


def test_a_small_gain_is_not_kept_at_three_seeds_though_its_posterior_says_so(fake: FakeStudy) -> None:
    """The posterior alone would keep some null in most nights: the luck of all programs tried stands against it."""
    good = fake.try_change(loss=2.178)
    for loss in (2.179, 2.177):
        fake.replicate(good, loss)
    assert standing(fake, good).probability >= 0.95
    assert standing(fake, good).level == "provisional"


def test_a_difference_that_other_images_could_reverse_is_not_kept(fake: FakeStudy) -> None:
    good = fake.try_change(loss=2.10)
    fake.replicate(good, 2.10)
    last = fake.claim(program=good)
    fake.finish(last, 2.101)
    assert standing(fake, good).decision == Decision.KEEP
    wide = verdict.judge(fake.study, last, PairedDifference(-0.1, 0.08, 5000))
    assert wide is not None and wide.decision == Decision.INCONCLUSIVE


def test_shorter_and_not_worse_is_kept_without_a_claim_of_gain(fake: FakeStudy) -> None:
    short = fake.try_change(loss=2.201, source_lines=190)
    assert verdict.wants_replicate(fake.study, fake.study.programs[short])
    fake.replicate(short, 2.199)
    assert standing(fake, short).decision != Decision.KEEP  # still needs its replicates
    fake.replicate(short, 2.200)
    found = standing(fake, short)
    assert (found.decision, found.level, found.leads) == (Decision.KEEP, "none", True)
    assert is_simplification(found)


def test_longer_and_not_better_is_discarded(fake: FakeStudy) -> None:
    long = fake.try_change(loss=2.199, source_lines=260)
    fake.replicate(long, 2.1985)
    fake.replicate(long, 2.1985)
    assert standing(fake, long).decision == Decision.DISCARD
    assert "longer" in standing(fake, long).why


def test_a_length_that_was_not_recorded_says_nothing(fake: FakeStudy) -> None:
    unknown = fake.try_change(loss=2.199, source_lines=0)
    fake.replicate(unknown, 2.1985)
    fake.replicate(unknown, 2.1985)
    assert standing(fake, unknown).decision == Decision.INCONCLUSIVE


def test_a_child_of_a_discarded_parent_is_judged_against_the_grandparent(fake: FakeStudy) -> None:
    parent = fake.try_change(loss=2.17)
    fake.replicate(parent, 2.30)
    child = fake.try_change(loss=2.215, parent=parent)  # better than its parent's 2.235, and worse than the baseline
    assert standing(fake, child).parent == "t0001"
    assert standing(fake, child).decision == Decision.DISCARD


def test_beating_ones_parent_is_not_enough_to_lead(fake: FakeStudy) -> None:
    ahead = fake.try_change(loss=2.10)
    other = fake.try_change(loss=2.17, parent="t0001")
    found = standing(fake, other)
    assert (found.level, found.leads) == ("provisional", False)
    assert found.probability_incumbent is not None and found.probability_incumbent < 0.01
    assert fake.study.incumbent is fake.study.programs[ahead]


def test_the_gate_rises_when_most_leaders_fell(fake: FakeStudy) -> None:
    for _ in range(3):
        lucky = fake.try_change(loss=2.185, parent="t0001")
        assert standing(fake, lucky).leads
        fake.replicate(lucky, 2.26)
    small = standing(fake, fake.try_change(loss=2.1915, parent="t0001"))
    near = standing(fake, fake.try_change(loss=2.189, parent="t0001"))
    assert near.probability >= 0.70 and -near.sigma < small.delta
    assert not small.leads
    assert standing(fake, fake.try_change(loss=2.17, parent="t0001")).leads


def test_a_parents_new_run_is_news_for_its_children(fake: FakeStudy) -> None:
    parent = fake.try_change(loss=2.10)
    child = fake.try_change(loss=2.099, parent=parent)
    assert standing(fake, child).level == "none"
    fake.replicate(parent, 2.14)  # its mean is 2.12 now
    assert standing(fake, child).level == "provisional"
    assert fake.study.incumbent is fake.study.programs[child]


def test_the_same_loss_under_another_program_is_flagged(fake: FakeStudy) -> None:
    first = fake.try_change(loss=2.1234561)
    twin = fake.claim(parent="t0001")
    assert verdict.stale(fake.study, fake.finish(twin, 2.1234559)) == first
    other = fake.claim(parent="t0001")
    assert verdict.stale(fake.study, fake.finish(other, 2.12346)) is None
    again = fake.claim(program=first)
    assert verdict.stale(fake.study, fake.finish(again, 2.1234562)) == twin  # the twin, and not its own first run


def test_replicates_go_to_the_best_bet_and_to_the_shorter_sample(fake: FakeStudy) -> None:
    good = fake.try_change(loss=2.15)
    better = fake.try_change(loss=2.12, parent="t0001")
    fake.try_change(loss=2.26, parent="t0001")
    assert verdict.replicates_owed(fake.study) == [better, good]
    waiting = fake.claim(program=better)
    assert verdict.replicates_owed(fake.study) == [good]
    fake.finish(waiting, 2.12)
    child = fake.try_change(loss=2.05, parent=good)  # its parent has one run: a turn each
    assert child in verdict.replicates_owed(fake.study)
    fake.finish(fake.claim(program=child), 2.05)
    owed = verdict.replicates_owed(fake.study)
    assert good in owed and child not in owed


def test_nothing_is_owed_to_a_discarded_or_confirmed_program(fake: FakeStudy) -> None:
    bad = fake.try_change(loss=2.3)
    good = fake.try_change(loss=2.10, parent="t0001")
    fake.replicate(good, 2.10)
    fake.replicate(good, 2.10)
    assert standing_of(fake.study, fake.study.programs[good]) is Standing.KEPT
    assert not verdict.wants_replicate(fake.study, fake.study.programs[bad])
    assert verdict.replicates_owed(fake.study) == []


def test_replicates_never_take_more_than_their_share() -> None:
    fake = FakeStudy()
    fake.measure_noise()
    generator = random.Random(2)
    for index in range(60):
        fake.try_change(loss=2.15 - 0.03 * generator.random(), parent="t0001")
        while owed := verdict.replicates_owed(fake.study):
            fake.replicate(owed[0], 2.15 - 0.03 * generator.random())
        replicates = sum(len(program.trials) - 1 for program in fake.study.programs.values()) - 4
        assert replicates <= max(2, (index + 1 + replicates) / 5)
    assert replicates >= 10
