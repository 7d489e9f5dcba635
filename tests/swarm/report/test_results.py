"""What the report claims, and what it rests on: results, answers, what fell, integrity, cost."""

import re
from pathlib import Path

import pytest
from factories.studies import FakeStudy, demo_study, written

from swarm.brain import verify
from swarm.errors import SwarmError
from swarm.records import FailReason, Guard, Note, Shown, TargetTerms, Usage
from swarm.report.answers import QUESTIONS, answers
from swarm.report.contents import PARTS
from swarm.report.costs import cost_line, models
from swarm.report.evidence import LONGEST_TEXT, MOST_PROGRAMS, Evidence, gather, told
from swarm.report.figures import draw
from swarm.report.findings import led_and_fell, plateau
from swarm.report.integrity import chain, integrity
from swarm.report.markdown import report_markdown
from swarm.report.markup import OPEN_ROWS, counted, diff_html, result_html, section_html, warning_html
from swarm.report.results import NOT_PROVEN, facts_of, headline, results
from swarm.report.words import hours, many, price
from swarm.study.state import Program
from swarm.verdict.certificate import Certificate, Certified, Gain
from swarm.verdict.standing import Standing

MODEL = Usage(model="m-large", input_tokens=4000, output_tokens=1000, usd=0.02)


@pytest.fixture(scope="module")
def kept() -> FakeStudy:
    """A study whose finals keep a program of a model, beside one that led and fell."""
    fake = FakeStudy(seed=4)
    fake.measure_noise()
    lucky = fake.try_change(loss=2.16, parent="t0001", description="luck")
    fake.replicate(lucky, 2.26)
    fake.try_change(effect=-0.08, parent="t0001", usage=MODEL, arm="model", lines_added=3, lines_removed=1)
    fake.fail(fake.claim(parent="t0001"), FailReason.CRASHED)
    fake.hold_finals(12)
    return fake


def text_of(program: Program) -> str:
    """Each program its own line."""
    return f"a = 1\nb = {program.name!r}\nc = 3\n"


def test_what_is_kept_is_claimed_from_the_finals_alone(kept: FakeStudy) -> None:
    (result,) = results(kept.study, gather(kept.study, text_of))
    verdict = kept.study.programs[result.program].verdict
    assert verdict is not None and verdict.finals == 1 and verdict.delta_high is not None
    assert result.standing is Standing.KEPT
    assert f"better by {-verdict.delta:.4f} nats, 95 % {-verdict.delta_high:.4f} to" in result.claim
    assert NOT_PROVEN not in result.claim and "all of the finals" in result.claim
    facts = dict(result.facts)
    finals = [t.claim.seed for t in kept.study.programs[result.program].trials if t.claim.finals]
    assert facts["seeds"].startswith(f"{', '.join(map(str, finals))} (finals)")
    assert "m-large" in facts["who"] and "0.0200 USD, 5,000 tokens in 1 call" in facts["cost"]
    assert "(+3 -1 in its last edit)" in facts["size"]
    assert result.adopt == f"swarm adopt {result.program} --study fake-study"
    assert f"+b = {result.program!r}" in result.change and "-b = 't0001'" in result.change


def test_a_lead_is_no_claim_and_has_the_interval_of_the_noise() -> None:
    fake = FakeStudy(sigma=0.01)
    for loss in (2.20, 2.21, 2.19, 2.20, 2.20):
        fake.finish(fake.baseline(), loss)
    fake.try_change(loss=2.15, parent="t0001")
    (result,) = results(fake.study)
    assert result.standing is Standing.LEADING and result.claim.endswith(NOT_PROVEN)
    low, high = map(float, re.findall(r"95 % (-?\d\.\d+) to (\d\.\d+) by run-to-run noise", result.claim)[0])
    assert (low + high) / 2 == pytest.approx(0.05, abs=1e-4) and low < 0.05 < high
    fake.try_change(loss=2.12)
    (result,) = results(fake.study)
    assert "over 1 run against 1 of t0006; better by 0.0800 nats than the baseline, P(better)" in result.claim
    assert headline([result]) == f"Nothing is kept yet. {result.program} leads, which is no claim."


def test_nothing_found_is_said_and_not_dressed_up() -> None:
    fake = FakeStudy()
    fake.measure_noise()
    assert results(fake.study) == [] and headline([]) == "Nothing has beaten the unchanged program."
    told_ = dict(answers(fake.study).rows)
    assert told_["How do I get it?"] == "There is nothing to get."


def test_the_six_questions_are_answered(kept: FakeStudy) -> None:
    found = dict(answers(kept.study, Evidence()).rows)
    assert tuple(found) == QUESTIONS
    best = results(kept.study)[0].program
    assert best in found["What won?"] and "nats" in found["By how much?"]
    assert found["Is it real?"].startswith("Yes") and "Stand-in data" in found["Is it real?"]
    assert "USD" in found["What did it cost?"] and "1 trial failed (1 crashed)" in found["What failed?"]
    assert found["How do I get it?"] == f"swarm adopt {best} --study fake-study"


def test_a_program_that_led_and_fell_is_told_with_both_gains(kept: FakeStudy) -> None:
    rows = {row[0]: row for row in led_and_fell(kept.study).rows}
    row = next(row for row in rows.values() if row[-1] == "luck")
    assert float(row[2]) < 0 < float(row[3])
    assert row[4] in ("discarded", "superseded")
    assert results(kept.study)[0].program not in rows


def test_a_missing_text_is_said_and_the_report_goes_on(kept: FakeStudy) -> None:
    def gone(program: Program) -> str:
        raise SwarmError(f"{program.name} lies elsewhere")

    evidence = gather(kept.study, gone)
    (result,) = results(kept.study, evidence)
    assert result.change == "" and "lies elsewhere" in result_html(result)


def test_texts_are_read_for_what_is_shown_only() -> None:
    fake = FakeStudy(seed=1)
    fake.measure_noise()
    name = "t0001"
    for step in range(40):
        name = fake.try_change(loss=2.1 - 0.1 * step, parent=name)
    asked: list[str] = []
    gather(fake.study, lambda program: asked.append(program.name) or "x")
    assert len(told(fake.study)) == MOST_PROGRAMS and len(asked) == 3 * MOST_PROGRAMS


def test_integrity_names_a_broken_chain_another_harness_and_a_drift(kept: FakeStudy, tmp_path: Path) -> None:
    brain = written(kept.records, tmp_path / "brain.jsonl")
    assert chain(Evidence(chain=verify(brain))) == f"holds over {len(kept.records)} lines"
    brain.write_bytes(brain.read_bytes().replace(b"luck", b"skil", 1))
    assert chain(Evidence(chain=verify(brain))).startswith("BROKEN")
    rows = dict(integrity(kept.study).rows)
    assert rows["Grade of measurement"].startswith("sealed") and "early" in rows["Baseline over the night"]
    assert rows["Harness"].startswith("the same") or rows["Harness"].startswith("CHANGED")
    trial = next(iter(kept.study.trials.values()))
    assert trial.finished is not None
    ended = trial.finished
    trial.finished = ended.model_copy(update={"harness_sha256": "9" * 64})
    try:
        assert dict(integrity(kept.study).rows)["Harness"].startswith("CHANGED")
    finally:
        trial.finished = ended


def test_a_certificate_stands_beside_its_result(kept: FakeStudy) -> None:
    best = results(kept.study)[0].program
    validation, test = (Gain(gain=g, low=g - 0.01, high=g + 0.01, runs=5, baseline_runs=5) for g in (0.08, 0.05))
    one = Certified(program=best, validation=validation, test=test, lost=0.03, lost_low=0.01, lost_high=0.05)
    certificate = Certificate(at=1.0, study_id="fake-study", number=1, again=False, programs=(one,))
    evidence = Evidence(certificates=(certificate,))
    said = "gain on fresh seeds +0.0800 (95 % +0.0700 to 0.0900); on the test split +0.0500"
    assert said in dict(results(kept.study, evidence)[0].facts)["certified"]
    assert said in str(integrity(kept.study, evidence).rows)
    assert said in dict(answers(kept.study, evidence).rows)["Is it real?"]


def test_a_plateau_has_its_diagnosis(kept: FakeStudy) -> None:
    assert "No diagnosis" in plateau(kept.study).empty and plateau(kept.study).rows == ()
    fake = FakeStudy()
    fake.measure_noise()
    fake.write(Note(study_id="fake-study", topic="diagnosis", description="it overfits"))
    assert plateau(fake.study).rows[0][2] == "it overfits"
    assert plateau(fake.study).note.startswith("Nothing has led; ")
    fake.write(Note(study_id="fake-study", topic="plateau", description="40 of 41 proposals"))
    ended = plateau(fake.study)
    assert ended.note.startswith("The search ended early, at a plateau: 40 of 41 proposals. ")
    assert ended.rows[0][2] == "40 of 41 proposals" and len(ended.rows) == 2


def test_costs_are_in_the_unit_that_fits_and_unknown_is_unknown(kept: FakeStudy) -> None:
    assert (hours(0.01), hours(0.5), hours(5.25)) == ("36 s", "30 min", "5.2 h")
    assert (many(1, "run"), many(2, "run")) == ("1 run", "2 runs")
    assert price(None) == "no call of a model"
    assert price(Usage(model="m", calls=2)) == "price unknown, tokens unknown in 2 calls of models"
    assert "of the device" in cost_line(kept.study)
    assert models(kept.study).rows == (("model", "0.0200 USD, 5,000 tokens in 1 call of models", "1", "0", "1"),)


def test_long_tables_show_their_first_rows_and_fold_the_others() -> None:
    demo = demo_study().study
    section = PARTS["ranking"].build(demo, Evidence())
    assert len(section.rows) > 12
    text = section_html(section, fold=True)
    first, _, rest = text.partition("<details")
    assert first.count("<tr>") == OPEN_ROWS + 1 and rest.count("<tr>") == len(section.rows) - OPEN_ROWS + 1
    assert "<details" not in section_html(section)


def test_a_diff_is_text() -> None:
    diff = "--- a/t\n+++ b/t\n@@ -1 +1 @@\n-x = '<b>'\n+y = 2\n z\n"
    text = diff_html(diff)
    assert "<b>" not in text and '<span class="removed">-x = &#x27;&lt;b&gt;' in text
    assert text.count("added") == 1 and counted(diff) == "+1 -1 lines"


def test_a_self_reported_number_is_marked_and_own_data_is_not() -> None:
    said = "Self-reported: each number is what the program printed"
    told_by_itself = FakeStudy(data="own", terms=TargetTerms(grade="self-reported")).study
    graded = FakeStudy(data="own", terms=TargetTerms(grade="graded")).study
    assert said in warning_html(told_by_itself) and said in report_markdown(told_by_itself)
    assert said in str(draw("history", told_by_itself).layout)
    assert warning_html(graded) == "" and "CIFAR" not in report_markdown(graded)
    assert dict(integrity(graded).rows)["Grade of measurement"].startswith("graded: the target's own grader")


def test_no_program_ends_its_block_of_code(kept: FakeStudy) -> None:
    hostile = "x = 1\n````\n# <img src=x>\n"
    evidence = gather(kept.study, lambda program: hostile + program.name)
    text = report_markdown(kept.study, evidence)
    fence = next(line for line in text.splitlines() if line.endswith("`diff"))[: -len("diff")]
    assert len(fence) == 5 and text.count(f"\n{fence}\n") == 1


def test_a_diff_holds_nothing_that_moves_the_cursor_or_turns_the_text(kept: FakeStudy) -> None:
    evidence = gather(kept.study, lambda program: f"# {program.name}\x1b[2J\u202e\n")
    assert evidence.changes and not any(char in text for text in evidence.changes.values() for char in "\x1b\u202e")


def test_an_enormous_text_is_not_compared(kept: FakeStudy) -> None:
    evidence = gather(kept.study, lambda program: "x\n" * LONGEST_TEXT)
    assert evidence.changes == {} and "not compared" in evidence.without


def test_guards_and_numbers_beside_the_objective_stand_with_the_result() -> None:
    terms = TargetTerms(guards=(Guard(name="size", op="<=", limit=5),), reports=(Shown(name="speed", unit="1/s"),))
    fake = FakeStudy(sigma=0.01, terms=terms)
    for loss in (2.20, 2.21, 2.19, 2.20, 2.20):
        fake.finish(fake.baseline(), loss)
    name = fake.try_change(loss=2.0, parent="t0001")
    trial = fake.study.trials[name]
    assert trial.finished is not None and trial.finished.score is not None
    score = trial.finished.score.model_copy(update={"metrics": {"size": 3.0, "speed": 12.5}})
    trial.finished = trial.finished.model_copy(update={"score": score})
    facts = dict(facts_of(fake.study, fake.study.programs[name], Evidence()))
    assert facts["guard"].startswith("size <= 5 holds: 3 over 1 run(s)") and facts["speed"] == "12.5 1/s over 1 run"
