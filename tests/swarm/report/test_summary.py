"""A study in numbers."""

from factories.studies import FakeStudy

from swarm.records import FailReason
from swarm.report.summary import summarize


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
