"""The figures of benchmarks/idle.py: pure on made-up timelines, and a whole study with a model that thinks."""

import sys
from pathlib import Path

import pytest
from fakes.fake_llm import Raw

from swarm.records import Operator

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from idle import (
    Span,
    device_busy,
    hand_over_s,
    run_study,
    slot_busy,
    slots_of,
    slow_answers,
    trials_per_minute,
    without_prefetch,
)

LOCKSTEP = {"worker_1": [Span(0, 10), Span(12, 22)], "worker_2": [Span(0, 10), Span(12, 22)]}
STAGGERED = {"worker_1": [Span(0, 10), Span(12, 22)], "worker_2": [Span(5, 15), Span(17, 27)]}


def test_one_running_trial_keeps_the_device_busy():
    assert device_busy(LOCKSTEP) == pytest.approx(20 / 22)
    assert device_busy(STAGGERED) == 1.0
    assert device_busy({"worker_1": [Span(0, 30), Span(40, 50)], "worker_2": [Span(5, 10)]}) == pytest.approx(0.8)


def test_a_slot_waits_for_nobody_elses_trial():
    assert slot_busy(STAGGERED) == pytest.approx(20 / 22)
    assert hand_over_s(STAGGERED) == 2


def test_without_prefetch_each_answer_comes_between_two_trials():
    slots = {"worker_1": [Span(0, 10), Span(11, 21, answer_s=3), Span(22, 32), Span(33, 43, answer_s=4)]}
    waited = without_prefetch(slots)["worker_1"]
    assert [(span.start, span.end) for span in waited] == [(0, 10), (14, 24), (25, 35), (40, 50)]
    assert device_busy(without_prefetch(slots)) == pytest.approx(40 / 50)
    assert device_busy(slots) == pytest.approx(40 / 43)


def test_the_rate_counts_from_the_first_start_to_the_last_end():
    assert trials_per_minute(STAGGERED) == pytest.approx(60 * 4 / 27)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_device_is_busy_beside_a_model_that_thinks_for_a_tenth_of_a_trial():
    """30 s beside 300 s, in a twentieth of the time. The first proposals were prepared during the noise floor."""
    study = run_study(slow_answers(1.5), trial_s=15.0, trials=9, workers=2)
    claims = [trial.claim for trial in study.trials.values()]
    first = next(claim for claim in claims if claim.operator not in (Operator.BASELINE, Operator.REPLICATE))
    assert first.usage is not None and first.usage.seconds >= 1.5, f"{first.arm}: nothing had been prepared"
    assert device_busy(slots_of(study)) >= 0.97


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_model_that_always_fails_costs_no_time():
    slots = slots_of(run_study(Raw("", status=500), trial_s=6.0, trials=11, workers=2))
    assert sum(map(len, slots.values())) == 11
    assert device_busy(slots) >= 0.97
    assert hand_over_s(slots) < 2.5, "as long as the embedded arms take"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_study_does_not_wait_for_a_model_that_thinks_for_as_long_as_a_trial():
    """Answers of 6 s beside trainings of 6 s: waiting for each would cost nearly half of each slot."""
    slots = slots_of(run_study(slow_answers(6.0), trial_s=6.0, trials=11, workers=2))
    spans = [span for spans in slots.values() for span in spans]
    assert len(spans) == 11
    assert sum(span.answer_s >= 6.0 for span in spans) >= 2, "the model's proposals were used"
    assert device_busy(slots) >= 0.9
    assert device_busy(slots) > device_busy(without_prefetch(slots))
    assert slot_busy(slots) > slot_busy(without_prefetch(slots)) + 0.1
