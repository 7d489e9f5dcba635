"""A study in numbers."""

from factories.studies import FakeStudy

from swarm.cli.render import headline
from swarm.records import FailReason
from swarm.report.sections import ranking
from swarm.report.summary import summarize
from swarm.verdict import finals, slots
from swarm.watch.view import facts


def test_a_study_that_has_not_begun() -> None:
    summary = summarize(FakeStudy().study)
    assert (summary.trials, summary.ranking, summary.noise_sigma, summary.incumbent) == (0, (), None, None)


def test_programs_are_ranked_and_counted() -> None:
    fake = FakeStudy()
    fake.measure_noise()
    better = fake.try_change(effect=-0.3)
    worse = fake.try_change(effect=+0.5)
    fake.fail(fake.claim(parent="t0001"), FailReason.OUT_OF_MEMORY)
    fake.refuse(code="duplicate")
    summary = summarize(fake.study)
    assert [row.program for row in summary.ranking] == [better, "t0001", worse]
    assert summary.ranking[0].delta_baseline is not None and summary.ranking[0].delta_baseline < -0.2
    assert {row.program: row.standing for row in summary.ranking} == {
        better: "leading",
        "t0001": "baseline",
        worse: "discarded",
    }
    assert summary.failed == {"out_of_memory": 1}
    assert summary.refused == {"duplicate": 1}
    assert summary.incumbent == better
    assert summary.noise_sigma is not None and 0 < summary.noise_sigma < 0.05


def test_a_first_lucky_run_is_leading_and_not_kept() -> None:
    fake = FakeStudy()
    fake.measure_noise()
    lucky = fake.try_change(effect=-0.3)
    assert summarize(fake.study).kept == 0
    for _ in range(2):
        fake.replicate(lucky)
    assert summarize(fake.study).ranking[0].standing == "leading"
    fake.hold_finals(slots=6)
    summary = summarize(fake.study)
    assert summary.kept == 1
    assert summary.ranking[0].standing == "kept"


def test_what_is_kept_stands_above_a_luckier_run_of_the_search() -> None:
    fake = FakeStudy()
    fake.measure_noise()
    better = fake.try_change(effect=-0.3)
    assert fake.hold_finals(slots=6).kept
    luckier = fake.try_change(loss=1.0)
    bad = fake.try_change(effect=0.8)
    order = [row.program for row in summarize(fake.study).ranking]
    assert order == [better, luckier, "t0001", bad]
    assert fake.study.ranked()[0].name == luckier
    assert [mean.program for mean in facts(fake.study, 1, ()).best] == order
    assert [row[1] for row in ranking(fake.study).rows] == order


def test_slots_that_are_held_for_the_finals_are_in_the_headline() -> None:
    fake = FakeStudy(trials=40, finals="auto")
    assert summarize(fake.study).held_for_finals == 8
    assert "; 8 slots held for the finals" in headline(summarize(fake.study)).plain
    assert facts(fake.study, 1, ()).counts.held == 8
    assert summarize(FakeStudy(trials=20, finals="auto").study).held_for_finals == 0
    for study in (FakeStudy(trials=40).study, FakeStudy(finals="auto").study):
        assert "held" not in headline(summarize(study)).plain


def test_slots_are_held_until_the_finals_begin() -> None:
    fake = FakeStudy(trials=35, finals="auto")
    fake.measure_noise()
    fake.try_change(effect=-0.3)
    assert slots.held_now(fake.study) == 7
    opened = finals.begin(fake.study, 7)
    assert opened is not None
    fake.write(opened)
    assert slots.held_now(fake.study) == 0
