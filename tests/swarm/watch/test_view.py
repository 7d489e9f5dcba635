"""The view of a running study: values in, values out."""

import json
import math
from statistics import median

import pytest
from factories.frames import frame as made
from factories.studies import EPOCH, FakeStudy, demo_study

from swarm.records import ProposalRejected, StudyClosed, Usage
from swarm.report.events import Events
from swarm.report.summary import summarize
from swarm.study.limits import Limits
from swarm.verdict import NoiseFloor, finals, plan
from swarm.verdict.interval import half_width, t_quantile
from swarm.watch.frame import Finals, Frame, Slot, Waiting
from swarm.watch.pace import ends_in_s, finals_ahead, forecast, trials_an_hour
from swarm.watch.view import Pulse, Reading, facts, frame
from swarm.watch.words import facts_of


def look(fake: FakeStudy, **reading: object) -> Frame:
    values: dict[str, object] = {"at": fake.now, "runs": True, "here": True}
    known = facts(fake.study, fake.brain.seq, Events().fresh(fake.study))
    return frame(known, Reading(**(values | reading)))  # type: ignore[arg-type]


def measured() -> FakeStudy:
    fake = FakeStudy()
    fake.measure_noise()
    return fake


def only_slot(seen: Frame) -> Slot:
    (slot,) = seen.slots
    return slot


def test_before_the_first_result_nothing_is_claimed() -> None:
    seen = look(FakeStudy())
    assert (seen.incumbent, seen.gain, seen.noise_sigma, seen.trials_an_hour, seen.end) == (None,) * 5
    assert seen.slots == () and seen.best == ()


def test_the_incumbent_has_the_interval_of_its_runs() -> None:
    fake = measured()
    seen = look(fake)
    assert seen.incumbent is not None and seen.noise_sigma is not None
    assert seen.incumbent.runs == 5 and seen.incumbent.standing == "baseline"
    assert seen.incumbent.high is not None
    assert seen.incumbent.high - seen.incumbent.value == pytest.approx(
        2.776 * seen.noise_sigma / math.sqrt(5), rel=1e-3
    )
    assert seen.gain is None, "the baseline is not better than itself"


def test_what_is_kept_comes_first_and_then_the_incumbent() -> None:
    fake = demo_study()
    assert fake.hold_finals().kept
    seen = look(fake)
    words = [mean.standing for mean in seen.best]
    last_kept = max(place for place, word in enumerate(words) if word == "kept")
    assert set(words[: last_kept + 1]) == {"kept"} and "discarded" in words
    assert seen.incumbent is not None and seen.incumbent.program in [mean.program for mean in seen.best]


def test_what_is_kept_is_shown_by_its_finals_alone() -> None:
    fake = measured()
    lucky = fake.try_change(loss=1.5)
    fake.hold_finals(losses={lucky: 2.0, "t0001": 2.3})
    verdict = fake.study.programs[lucky].verdict
    assert verdict is not None and verdict.finals == 1 and verdict.delta == pytest.approx(-0.3)
    seen, told = look(fake), summarize(fake.study)
    assert seen.incumbent is not None and seen.gain is not None
    assert (seen.incumbent.value, seen.incumbent.runs) == (2.0, verdict.replicates)
    assert (seen.gain.amount, seen.gain.low) == (-verdict.delta, -verdict.delta_high)
    row = told.ranking[0]
    assert (row.program, row.loss, row.replicates) == (lucky, 2.0, verdict.replicates)
    assert row.delta_baseline == verdict.delta and told.incumbent_loss == 2.0


def test_a_slot_shows_what_its_program_says_of_itself_as_far_as_it_can_be_a_number() -> None:
    fake = measured()
    trial = fake.claim(parent="t0001", agent_id="worker_1")
    assert only_slot(look(fake)).doing == "waiting"
    fake.start(trial)
    pulse = Pulse(progress=0.5, step=7, loss=2.5, silent_s=3.0)
    seen = only_slot(look(fake, at=fake.now + 30, pulses={trial: pulse}))
    assert (seen.doing, seen.progress, seen.step, seen.loss, seen.silent_s) == ("training", 0.5, 7, 2.5, 3.0)
    lies = Pulse(progress=math.nan, step=0, loss=math.inf, silent_s=-math.inf)
    seen = only_slot(look(fake, pulses={trial: lies}))
    assert (seen.progress, seen.loss, seen.silent_s) == (None, None, None)
    beyond = only_slot(look(fake, pulses={trial: Pulse(7.0, 1, 1.0, -5.0)}))
    assert (beyond.doing, beyond.progress, beyond.silent_s) == ("scoring", 1.0, 0.0)


def test_a_worker_without_a_trial_shows_what_it_does_and_how_often_it_died() -> None:
    fake = measured()
    fake.status("worker_1", "restarted")
    fake.status("worker_1", "proposing")
    seen = only_slot(look(fake))
    assert (seen.doing, seen.trial_id, seen.restarts) == ("proposing", None, 1)


def test_a_trials_end_is_told_by_its_progress_and_before_that_by_earlier_trials() -> None:
    fake = measured()
    trial = fake.study.trials[fake.claim(parent="t0001")]
    assert ends_in_s(trial, None, (20.0,), fake.now) is None, "it waits"
    fake.start(trial.trial_id)
    now = fake.now + 5
    assert ends_in_s(trial, None, (), now) is None
    assert ends_in_s(trial, 0.01, (20.0, 22.0, 90.0), now) == 17.0
    assert ends_in_s(trial, 0.25, (), now) == 15.0
    assert ends_in_s(trial, 0.25, (26.0,), now) == 21.0, "with the usual time of scoring"


def test_the_pace_is_that_of_the_last_twenty_endings() -> None:
    fake = FakeStudy()
    assert trials_an_hour(fake.study, fake.now) is None
    for _ in range(3):
        fake.finish(fake.baseline(), after_s=1000)
    assert trials_an_hour(fake.study, fake.now) == pytest.approx(3 * 3600 / (fake.now - fake.study.opened.at))
    for _ in range(20):
        fake.finish(fake.baseline(), after_s=34.0)
    assert trials_an_hour(fake.study, fake.now) == pytest.approx(3600 / 36.0)
    assert trials_an_hour(fake.study, fake.now + 720) == pytest.approx(3600 * 20 / (720 + 720)), "it slows down"


def test_the_limit_that_comes_first_ends_the_study() -> None:
    fake = measured()
    study, now = fake.study, fake.now
    assert forecast(study, 60.0, None, now) is None, "no limit"
    study.limits = Limits(15, None)
    end = forecast(study, 60.0, None, now)
    assert end is not None and (end.limit, end.at) == ("trials", now + 600)
    assert forecast(study, None, None, now) is None
    study.limits = Limits(15, now + 60)
    end = forecast(study, 60.0, None, now)
    assert end is not None and end.limit == "hours"
    half_spent = forecast(study, 60.0, (1.0, 1.0), now)
    assert half_spent is not None and (half_spent.limit, half_spent.at) == ("spend", now)


def test_the_finals_are_foretold_by_the_slots_that_are_held_for_them() -> None:
    fake = FakeStudy(trials=40, finals="auto")
    assert finals_ahead(fake.study, 60.0, fake.now) == Finals(fake.now + 60 * 32, 8, None), "no trial has ended yet"
    fake.measure_noise()
    seen = look(fake)
    assert seen.finals is not None and seen.finals.begins_at is not None and seen.finals.runs == 8
    one = median(
        end - begin for trial in fake.study.finished_trials() if (span := trial.seconds) for begin, end in [span]
    )
    assert seen.finals.ends_at == pytest.approx(seen.finals.begins_at + one * (8 / 2 + 1))
    assert finals_ahead(fake.study, None, fake.now) is None, "without a pace nobody knows when"
    assert dict(facts_of(seen))["finals"].startswith("begin about ")
    off = FakeStudy(trials=40, finals="off")
    off.measure_noise()
    assert look(off).finals is None and "finals" not in dict(facts_of(look(off)))


def test_the_finals_before_a_deadline_begin_so_that_they_fit() -> None:
    fake = FakeStudy(finals="auto", deadline_at=EPOCH + 100_000)
    fake.measure_noise()
    assert finals_ahead(fake.study, 60.0, fake.now) is None, "nobody contends"
    for loss in (2.1, 2.0):
        fake.try_change(loss=loss)
    for _ in range(20):
        fake.try_change(loss=2.5)
    ahead = finals_ahead(fake.study, 60.0, fake.now)
    assert ahead is not None and ahead.begins_at is not None and ahead.runs >= 6
    assert ahead.ends_at == pytest.approx(EPOCH + 100_000)
    assert finals_ahead(fake.study, 60.0, fake.now + 10**6) is not None, "past its end they are due"


def test_finals_that_run_say_how_many_runs_are_left() -> None:
    fake = measured()
    fake.try_change(loss=1.5)
    opened = finals.begin(fake.study, 12)
    assert opened is not None
    fake.write(opened)
    whole = plan.runs(opened.rounds)
    assert (look(fake).finals.begins_at, look(fake).finals.runs) == (None, whole)
    fake.finals_run(finals.where(fake.study, opened).owed[0])
    seen = look(fake)
    assert seen.finals is not None and seen.finals.runs == whole - 1 and seen.finals.ends_at > fake.now
    assert dict(facts_of(seen))["finals"].startswith(f"running, {whole - 1} runs left; end about ")
    while owed := finals.where(fake.study, opened).owed:
        fake.finals_run(owed[0])
    for record in finals.close(fake.study, opened):
        fake.write(record)
    assert look(fake).finals is None


def test_what_was_spent_is_unknown_where_a_part_is_unknown() -> None:
    fake = measured()
    assert look(fake).spend is None
    limited = look(fake, max_usd=5.0).spend
    assert limited is not None and (limited.usd, limited.calls) == (0.0, 0)
    usage = Usage(model="m", input_tokens=10, output_tokens=None, usd=0.25)
    fake.write(ProposalRejected(code="llm_failed", detail="", proposer="openai", usage=usage))
    spend = look(fake, max_usd=5.0).spend
    assert spend is not None and (spend.usd, spend.tokens, spend.max_usd, spend.calls) == (0.25, None, 5.0, 1)


@pytest.mark.parametrize(
    ("runs", "here", "state"), [(True, True, "running"), (False, True, "stopped"), (False, False, "copy")]
)
def test_a_frame_says_whether_the_study_is_alive(runs: bool, here: bool, state: str) -> None:
    fake = measured()
    assert look(fake, runs=runs, here=here).state == state
    fake.write(StudyClosed(reason="time is up"))
    seen = look(fake, runs=runs, here=here)
    assert (seen.state, seen.why, seen.slots, seen.end) == ("ended", "time is up", (), None)


def test_a_frame_is_one_line_of_json() -> None:
    line = json.dumps(made().as_fields(), allow_nan=False)
    assert "\n" not in line and json.loads(line)["waiting"][0]["memory_mib"] == 5482


def test_the_queue_of_other_studies_is_shown_as_theirs() -> None:
    other = Waiting("t0001", "worker_1", 100, 1.0, "there is room", None, elsewhere=True)
    assert look(measured(), waiting=(other,)).waiting == (other,)


@pytest.mark.parametrize(("degrees", "quantile"), [(1, 12.706), (4, 2.776), (30, 2.042)])
def test_the_quantiles_of_students_t_are_those_of_the_tables(degrees: int, quantile: float) -> None:
    assert t_quantile(degrees) == pytest.approx(quantile, abs=5e-4)
    assert half_width(NoiseFloor(2.0, degrees), 4) == pytest.approx(quantile, rel=1e-3)
    assert half_width(NoiseFloor(1.0, degrees), 2, 2) == pytest.approx(quantile, rel=1e-3)
