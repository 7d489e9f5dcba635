import math
import random

import pytest
from factories.studies import FakeStudy

from swarm.records import FailReason, Operator
from swarm.verdict.early_stop import (
    AUDIT_ONE_IN,
    FULL_TRIALS,
    RUNGS,
    FalsePrunes,
    false_prune_rate,
    finished_curves,
    is_audited,
    look,
    probability_below,
)


def curve_of(final: float, generator: random.Random, *, late: float = 0.0) -> tuple[tuple[float, float], ...]:
    """Rung losses of a trial that ends at `final`; `late` is how much worse it looks early than its end deserves."""
    early = final + 0.9 + late + generator.gauss(0, 0.02)
    middle = final + 0.4 + late / 2 + generator.gauss(0, 0.015)
    return ((RUNGS[0], early), (RUNGS[1], middle))


@pytest.fixture
def fake() -> FakeStudy:
    """Twelve finished trials, five of them the baseline; the incumbent is the baseline at about 2.2."""
    fake, generator = FakeStudy(seed=5), random.Random(5)
    for _ in range(5):
        final = 2.2 + generator.gauss(0, 0.012)
        fake.finish(fake.baseline(), final, rungs=curve_of(final, generator))
    for index in range(7):
        final = 2.22 + 0.03 * index
        fake.finish(fake.claim(parent="t0001"), final, rungs=curve_of(final, generator))
    assert fake.study.incumbent is fake.study.baseline
    return fake


def unaudited(fake: FakeStudy, **options: object) -> str:
    """A claimed trial outside the audit."""
    while is_audited(fake.study.study_id, fake.study.next_trial_id):
        fake.fail(fake.claim(parent="t0001"))
    return fake.claim(parent="t0001", **options)  # type: ignore[arg-type]


def audited(fake: FakeStudy, **options: object) -> str:
    while not is_audited(fake.study.study_id, fake.study.next_trial_id):
        fake.fail(fake.claim(parent="t0001"))
    return fake.claim(parent="t0001", **options)  # type: ignore[arg-type]


def test_a_hopeless_trial_is_ended_and_a_promising_one_goes_on(fake: FakeStudy) -> None:
    hopeless = look(fake.study, unaudited(fake), RUNGS[0], 3.6)
    assert hopeless.action == "stop" and hopeless.probability is not None and hopeless.probability < 0.05
    promising = look(fake.study, unaudited(fake), RUNGS[0], 3.08)
    assert promising.action == "go_on" and promising.probability is not None and promising.probability > 0.3


def test_nothing_is_ended_before_eight_full_trials() -> None:
    fake = FakeStudy()
    for index in range(FULL_TRIALS - 1):
        final = 2.2 + 0.05 * index
        fake.finish(fake.baseline(), final, rungs=curve_of(final, fake.random))
    trial = unaudited(fake)
    early = look(fake.study, trial, RUNGS[0], 9.0)
    assert (early.action, early.probability) == ("go_on", None) and "8 needed" in early.why
    fake.finish(fake.baseline(), 2.3, rungs=curve_of(2.3, fake.random))
    assert look(fake.study, trial, RUNGS[0], 9.0).action == "stop"


def test_slow_starters_are_spared_at_the_first_rung_only(fake: FakeStudy) -> None:
    slow = unaudited(fake, family="schedule")
    assert look(fake.study, slow, RUNGS[0], 3.6).action == "go_on"
    assert look(fake.study, slow, RUNGS[1], 3.6).action == "stop"


@pytest.mark.parametrize("operator", [Operator.BASELINE, Operator.REPLICATE])
def test_replicates_always_run_to_their_end(fake: FakeStudy, operator: Operator) -> None:
    trial = fake.claim(program="t0001", operator=operator)
    assert look(fake.study, trial, RUNGS[1], 9.0).action == "go_on"


def test_a_tenth_goes_on_as_an_audit_whatever_it_is(fake: FakeStudy) -> None:
    assert look(fake.study, audited(fake), RUNGS[0], 3.6).action == "audit"
    chosen = sum(is_audited("resnext-20261121", f"t{number:04d}") for number in range(2000))
    assert chosen / 2000 == pytest.approx(1 / AUDIT_ONE_IN, abs=0.02)
    assert is_audited("a", "t0001") == is_audited("a", "t0001")


def test_failed_trials_teach_nothing(fake: FakeStudy) -> None:
    before = finished_curves(fake.study, RUNGS[0])
    fake.fail(fake.claim(parent="t0001"), FailReason.PRUNED, rungs=((RUNGS[0], 9.0),))
    assert finished_curves(fake.study, RUNGS[0]) == before


def test_the_prediction_covers_what_it_says() -> None:
    """Of new trials from the same line, a share p ends below the value that is passed with probability p."""
    generator, hits, wanted = random.Random(11), 0, 0.0
    for _ in range(2000):
        rungs = [generator.uniform(3, 3.4) for _ in range(9)]
        *known, new = [(rung, 0.5 + 0.6 * rung + generator.gauss(0, 0.02)) for rung in rungs]
        chance = probability_below(known, new[0], 2.4)
        wanted += chance
        hits += new[1] < 2.4
    assert hits / 2000 == pytest.approx(wanted / 2000, abs=0.02)


def test_no_curve_foretells_the_noise() -> None:
    exact = [(3.0 + 0.1 * index, 2.0 + 0.1 * index) for index in range(8)]
    assert probability_below(exact, 3.2, 2.19) < 1e-6
    assert probability_below(exact, 3.2, 2.19, least_sd=0.02) > 0.2
    assert probability_below([(3.0, 2.0)] * 8, 3.0, 2.1) == 1.0


def test_the_false_prune_rate_counts_audited_trials_that_won(fake: FakeStudy) -> None:
    assert false_prune_rate(fake.study) == FalsePrunes(0, 0, 0)
    assert false_prune_rate(fake.study).rate is None
    fake.finish(fake.claim(parent="t0001"), 2.5, audit=True)
    fake.finish(fake.claim(parent="t0001"), 2.1, audit=True)
    fake.fail(fake.claim(parent="t0001"), FailReason.PRUNED)
    found = false_prune_rate(fake.study)
    assert (found.audited, found.wrong, found.pruned, found.rate) == (2, 1, 1, 0.5)


def test_an_audited_trial_is_compared_with_the_incumbent_of_its_time(fake: FakeStudy) -> None:
    fake.finish(fake.claim(parent="t0001"), 2.19, audit=True)  # below the baseline, which led then
    fake.try_change(loss=2.0)
    fake.finish(fake.claim(parent="t0001"), 2.1, audit=True)  # above the leader of its time
    assert false_prune_rate(fake.study).wrong == 1


def run_study(seed: int, *, crossing: float) -> tuple[int, int, int, FalsePrunes]:
    """60 changes; a share `crossing` starts late: 0.3 worse early on than its end deserves, in a spared family.

    Returns ended trials, ended trials that would have beaten the incumbent, trials in all, and the audit's account.
    """
    fake, generator = FakeStudy(seed=seed), random.Random(seed)
    for _ in range(6):
        final = 2.2 + generator.gauss(0, 0.012)
        fake.finish(fake.baseline(), final, rungs=curve_of(final, generator))
    ended = wrong = 0
    for _ in range(60):
        final = 2.2 + generator.choice([-0.01, 0.03, 0.08, 0.2]) + generator.gauss(0, 0.012)
        late = 0.3 if generator.random() < crossing else 0.0
        rungs = curve_of(final, generator, late=late)
        trial = fake.claim(parent="t0001", family="schedule" if late else "optimiser")
        looks = [look(fake.study, trial, progress, loss).action for progress, loss in rungs]
        if "stop" in looks:
            incumbent = fake.study.incumbent
            assert incumbent is not None and incumbent.mean is not None
            ended, wrong = ended + 1, wrong + (final < incumbent.mean)
            fake.fail(trial, FailReason.PRUNED, rungs=rungs)
        else:
            fake.finish(trial, final, rungs=rungs, audit="audit" in looks)
    return ended, wrong, 60, false_prune_rate(fake.study)


def test_a_simulated_study_ends_many_trials_and_few_wrongly() -> None:
    runs = [run_study(seed, crossing=0.0) for seed in range(6)]
    ended, wrong, total = (sum(run[part] for run in runs) for part in range(3))
    assert ended / total > 0.25
    assert wrong / ended < 0.05


def test_crossing_curves_are_what_the_exemption_is_for() -> None:
    """Late starters in a spared family survive the first rung; unspared they would all be ended there."""
    runs = [run_study(seed, crossing=0.25) for seed in range(6)]
    ended, wrong = (sum(run[part] for run in runs) for part in range(2))
    assert ended > 0 and wrong / ended < 0.08
    audits = [run[3] for run in runs]
    estimate = sum(audit.wrong for audit in audits) / max(1, sum(audit.audited for audit in audits))
    assert math.isclose(estimate, wrong / ended, abs_tol=0.15)
