"""What the terminal shows is text: nothing that a proposal says can style, break or crash it."""

import io
import sys
from unittest.mock import Mock

import pytest
import typer
from factories.studies import FakeStudy
from rich.console import Console

from swarm.cli import init
from swarm.cli.render import EventLines, headline, ranking_lines, ranking_table
from swarm.records import Budget, FailReason
from swarm.report.summary import summarize
from swarm.watch.terminal import picture
from swarm.watch.view import Reading, facts, frame

MARKUP = "set [/nothing] and [bold red]scream[/] \x1b[31m"


def test_a_description_with_markup_is_shown_as_it_is() -> None:
    fake = FakeStudy()
    fake.measure_noise()
    fake.try_change(effect=-0.3, description=MARKUP)
    fake.status("worker_1", "training", fake.claim(parent="t0001", description=MARKUP))
    console = Console(width=160, record=True, file=io.StringIO())
    seen = frame(facts(fake.study, fake.brain.seq, ()), Reading(at=fake.now, runs=True))
    console.print(picture(seen, 160))
    shown = console.export_text()
    assert "[/nothing]" in shown
    assert "leading" in shown
    assert any("[/nothing]" in line for line in ranking_lines(summarize(fake.study)))


def test_what_ended_early_is_no_failure() -> None:
    fake = FakeStudy()
    fake.measure_noise(2)
    fake.fail(fake.claim(parent="t0001"), FailReason.PRUNED, rungs=((0.5, 4.0),))
    said = str(headline(summarize(fake.study)))
    assert "1 ended early" in said and "failed" not in said
    fake.fail(fake.claim(parent="t0001"))
    assert ", 1 failed" in str(headline(summarize(fake.study)))


def test_every_event_is_told_once() -> None:
    fake = FakeStudy()
    events = EventLines()
    fake.measure_noise(2)
    first = list(events.fresh(fake.study))
    assert len(first) == 4
    assert list(events.fresh(fake.study)) == []
    fake.refuse()
    assert len(list(events.fresh(fake.study))) == 1
    fake.status("worker_1", "stopped")
    fake.status("worker_2", "training")
    assert [line[9:] for line in events.fresh(fake.study)] == ["stopped"]
    assert list(events.fresh(fake.study)) == []


def test_a_number_that_no_program_has_has_no_column() -> None:
    fake = FakeStudy()
    fake.measure_noise(2)
    seen = summarize(fake.study)
    assert any("top-1" in line for line in ranking_lines(seen))
    rows = tuple(row.model_copy(update={"top1": None}) for row in seen.ranking)
    without = seen.model_copy(update={"ranking": rows})
    for shown in (ranking_lines(without), [column.header for column in ranking_table(without).columns]):
        assert "top-1" not in " ".join(map(str, shown))
    assert len(ranking_table(seen).columns) == len(ranking_table(without).columns) + 1


def test_a_budget_is_said_in_words_of_people() -> None:
    said = {
        kind: Budget(kind=kind, amount=20_000, walltime_limit_s=1).words
        for kind in ("solo_seconds", "seconds", "samples")
    }
    assert said == {"solo_seconds": "20000 s of work", "seconds": "20000 s", "samples": "20,000 samples"}
    fake = FakeStudy()
    seen = summarize(fake.study)
    assert f" {fake.study.opened.budget.words} a trial" in str(headline(seen))


def test_trials_beyond_those_asked_for_are_no_part_of_them() -> None:
    fake = FakeStudy()
    fake.measure_noise(2)
    seen = summarize(fake.study)
    assert "\n2 of 2 trials" in str(headline(seen.model_copy(update={"trials_wanted": 2})))
    assert "\n2 trials" in str(headline(seen.model_copy(update={"trials_wanted": 1})))


def test_a_question_is_asked_again_after_another_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter(["up", "maximize"])
    monkeypatch.setattr(typer, "prompt", lambda question, default: next(answers))
    monkeypatch.setattr(sys, "stdin", Mock(isatty=lambda: True))
    assert init._direction("loss", yes=False) == "maximize"
    assert capsys.readouterr().out == "'up' is none of these.\n"
