"""The rules of a verdict, each on a hand-made study. Error rates are in test_verdict_simulation."""

import math
import random

import pytest
from factories.studies import FakeStudy

from swarm import verdict
from swarm.records import Decision, FailReason, Operator, VerdictReached
from swarm.verdict import NoiseFloor, Normal, PairedDifference
from swarm.verdict.standing import Standing
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
    prior, difference, error = Normal(0.01, 0.03), -0.015, 0.012 * math.sqrt(1 / 2 + 1 / 3)
    grid = [(-0.3 + 0.0001 * (index + 0.5)) for index in range(6000)]
    weight = [math.exp(-(((x - difference) / error) ** 2) / 2 - (((x - prior.mean) / prior.sd) ** 2) / 2) for x in grid]
    exact = sum(w for x, w in zip(grid, weight, strict=True) if x < 0) / sum(weight)
    belief = verdict.posterior(difference, error, prior)
    assert verdict.mass_below_zero(belief) == pytest.approx(exact, abs=1e-4)
    assert belief.mean == pytest.approx(sum(x * w for x, w in zip(grid, weight, strict=True)) / sum(weight), abs=1e-4)


def test_a_posterior_without_noise() -> None:
    assert verdict.mass_below_zero(verdict.posterior(-1.0, 0.0)) == 1.0
    assert verdict.mass_below_zero(verdict.posterior(0.0, 0.0)) == 0.0


def test_a_programs_noise_is_shrunk_towards_the_pooled_one() -> None:
    pooled = NoiseFloor(1.0, 20)
    assert verdict.own_noise([5.0], pooled) == NoiseFloor(1.0, 6)
    wild = verdict.own_noise([0.0, 10.0], pooled)  # squares 50 on one degree of freedom
    assert (wild.sigma, wild.degrees) == (pytest.approx(math.sqrt((6 + 50) / 7)), 7)
    calm = verdict.own_noise([1.0, 1.0, 1.0], pooled)
    assert (calm.sigma, calm.degrees) == (pytest.approx(math.sqrt(6 / 8)), 8)
    assert verdict.own_noise([], NoiseFloor(1.0, 4)).degrees == 4  # never surer than the study is


def test_runs_that_are_equal_are_not_told_in_thousands_of_sigmas() -> None:
    fake = FakeStudy()
    for _ in range(5):
        fake.finish(fake.baseline(), 2.2)
    program = fake.try_change(loss=2.0)
    why = standing(fake, program).why
    assert "(over 100 sigma) than t0001" in why, why


def test_equal_runs_are_as_sure_as_the_items_that_they_are_over() -> None:
    still = (NoiseFloor(0.0, 4), NoiseFloor(0.0, 4))
    items = PairedDifference(mean=-0.1, standard_error=0.2, images=4)
    test = verdict.welch([1.9, 1.9], [2.0, 2.0], still, items)
    assert test.low < -0.1 < 0.0 < test.high and 0.2 < test.p_value < 0.4 and test.degrees == 3


def test_welch_agrees_with_a_textbook() -> None:
    """Equal variances and sizes: the two-sample t test. For t = 2 on 8 degrees of freedom p is 0.0403."""
    mine, theirs = [0.0] * 5, [2 * math.sqrt(2 / 5)] * 5
    test = verdict.welch(mine, theirs, (NoiseFloor(1.0, 4), NoiseFloor(1.0, 4)))
    assert (test.degrees, test.p_value) == (8, pytest.approx(0.0403, abs=1e-4))
    assert test.high - test.difference == pytest.approx(2.306 * math.sqrt(2 / 5), abs=1e-3)
    noisy = verdict.welch(mine, theirs, (NoiseFloor(10.0, 4), NoiseFloor(0.1, 4)))
    assert noisy.degrees == 4 and noisy.p_value > 0.3  # the noisy side alone counts
    same = verdict.welch([1.0, 1.0], [1.0, 1.0], (NoiseFloor(0.0, 4), NoiseFloor(0.0, 4)))
    assert (same.p_value, same.low, same.high) == (1.0, 0.0, 0.0)


def test_pairing_measures_the_images_and_can_only_widen_the_error() -> None:
    pair = verdict.paired_difference([[1.0, 2.0, 3.0]], [[2.0, 2.0, 5.0], [2.0, 4.0, 5.0]])
    assert (pair.mean, pair.images) == (pytest.approx(-4 / 3), 3)
    assert pair.standard_error == pytest.approx(math.sqrt(1 / 3 / 3))
    assert verdict.standard_error(0.01, 2, 0.01, 2, 0.05) == 0.05
    assert verdict.standard_error(0.01, 2, 0.01, 2, 0.001) == pytest.approx(0.01)


@pytest.mark.parametrize("rows", [([], [[1.0, 2.0]]), ([[1.0]], [[1.0]]), ([[1.0, 2.0]], [[1.0, 2.0, 3.0]])])
def test_pairing_needs_the_same_images(rows: tuple[list[list[float]], list[list[float]]]) -> None:
    with pytest.raises(ValueError, match="same two or more images"):
        verdict.paired_difference(*rows)


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


def test_verdicts_do_not_depend_on_the_scale_of_the_noise() -> None:
    """The same study with ten times the noise and ten times the gain."""
    found = []
    for scale in (1.5, 15.0):
        fake = FakeStudy()
        for loss in BASELINE:
            fake.finish(fake.baseline(), 2.2 + scale * (loss - 2.2))
        found.append(standing(fake, fake.try_change(loss=2.2 - scale * 0.02)))
    assert found[0].probability == pytest.approx(found[1].probability)


@pytest.mark.parametrize("runs", [1, 3, 8])
def test_the_search_keeps_nothing_however_good_it_looks(fake: FakeStudy, runs: int) -> None:
    good = fake.try_change(loss=1.0)
    for _ in range(runs - 1):
        fake.replicate(good, 1.0)
    found = standing(fake, good)
    assert (found.decision, found.level, found.leads) == (Decision.INCONCLUSIVE, "provisional", True)
    assert standing_of(fake.study, fake.study.programs[good]) is Standing.LEADING


def test_a_difference_that_other_images_could_reverse_does_not_lead(fake: FakeStudy) -> None:
    good = fake.claim(parent="t0001")
    fake.finish(good, 2.17, conclude_now=False)
    narrow, wide = (verdict.judge(fake.study, good, PairedDifference(-0.03, error, 5000)) for error in (0.0, 0.4))
    assert narrow is not None and narrow.leads
    assert wide is not None and not wide.leads and wide.image_error == 0.4


def test_the_record_has_what_its_verdict_was_reached_from(fake: FakeStudy) -> None:
    good = fake.try_change(loss=2.18)
    fake.replicate(good, 2.19)
    fake.replicate(good, 2.17)
    found = standing(fake, good)
    assert found.own_sigma is not None and found.parent_sigma is not None
    error = verdict.standard_error(
        found.own_sigma, found.replicates, found.parent_sigma, found.parent_replicates, found.image_error
    )
    belief = verdict.posterior(found.delta, error, verdict.prior_for(found.sigma))
    assert verdict.mass_below_zero(belief) == pytest.approx(found.probability, abs=1e-6)


def test_shorter_and_not_worse_leads_without_a_claim_of_gain(fake: FakeStudy) -> None:
    short = fake.try_change(loss=2.201, source_lines=190)
    assert not standing(fake, short).leads
    fake.replicate(short, 2.199)
    assert not standing(fake, short).leads  # three seeds on both sides
    fake.replicate(short, 2.200)
    found = standing(fake, short)
    assert (found.decision, found.level, found.leads) == (Decision.INCONCLUSIVE, "none", True)
    assert "10 lines shorter and not worse" in found.why


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


def test_children_find_another_parent_when_theirs_falls(fake: FakeStudy) -> None:
    """And the old one again when it gets up."""
    parent = fake.try_change(loss=2.19)
    child = fake.try_change(loss=2.185, parent=parent)
    assert standing(fake, child).parent == parent
    fake.replicate(parent, 2.23)
    assert standing(fake, parent).decision is Decision.DISCARD
    assert standing(fake, child).parent == "t0001"
    fake.replicate(parent, 2.13)
    fake.replicate(parent, 2.13)
    assert standing(fake, parent).decision is Decision.INCONCLUSIVE
    assert standing(fake, child).parent == parent


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


def test_a_new_leader_gets_two_replicates_at_once(fake: FakeStudy) -> None:
    good = fake.try_change(loss=2.15)
    assert verdict.replicates_owed(fake.study) == [good, good]
    waiting = fake.claim(program=good, operator=Operator.REPLICATE)
    assert verdict.replicates_owed(fake.study) == [good]
    fake.finish(waiting, 2.15)
    fake.replicate(good, 2.15)
    assert verdict.replicates_owed(fake.study) == []


def test_what_leads_now_comes_before_what_led(fake: FakeStudy) -> None:
    first = fake.try_change(loss=2.15)
    second = fake.try_change(loss=2.10)
    for _ in range(12):
        fake.try_change(loss=2.4, parent="t0001")
    assert verdict.replicates_owed(fake.study) == [second, second, first][: verdict.replicate_credit(fake.study)]


def test_spare_credit_looks_again_at_what_may_still_be_the_best(fake: FakeStudy) -> None:
    near = fake.try_change(loss=2.199, parent="t0001")
    fake.try_change(loss=2.206, parent="t0001")
    for _ in range(18):
        fake.try_change(loss=2.4, parent="t0001")
    assert verdict.replicate_credit(fake.study) > 2
    assert verdict.replicates_owed(fake.study)[0] == near
    waiting = fake.claim(program=near, operator=Operator.REPLICATE)
    assert near not in verdict.replicates_owed(fake.study)  # one second look at a time
    fake.finish(waiting, 2.3)
    assert near not in verdict.replicates_owed(fake.study)  # and none for what it refuted
    far = fake.try_change(loss=1.5, parent="t0001")
    fake.replicate(far, 1.5)
    fake.replicate(far, 1.5)
    owed = set(verdict.replicates_owed(fake.study))
    assert owed <= {far}  # nothing else may still be the best


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
