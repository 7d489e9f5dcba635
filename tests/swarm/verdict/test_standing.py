"""What a program is now: each word, and the same word wherever it is shown."""

import io

import pytest
from factories.studies import FakeStudy, demo_study
from rich.console import Console

from swarm.cli.render import EventLines, ranking_lines, ranking_table
from swarm.program import constants
from swarm.records import FailReason
from swarm.report.contents import sections
from swarm.report.figures import curves, history, lineage, pareto
from swarm.report.summary import summarize
from swarm.study.state import StudyState
from swarm.verdict.standing import Standing, changes, kept, standing, standing_of_trial
from workers.briefing import compute_briefing

BASELINE = (2.20, 2.21, 2.19, 2.20, 2.20)


@pytest.fixture
def fake() -> FakeStudy:
    fake = FakeStudy()
    for loss in BASELINE:
        fake.finish(fake.baseline(), loss)
    return fake


def word(fake: FakeStudy, program: str) -> Standing:
    return standing(fake.study, fake.study.programs[program])


def test_the_unchanged_program_is_the_baseline_from_its_claim_on() -> None:
    fake = FakeStudy()
    base = fake.baseline()
    assert word(fake, base) is Standing.BASELINE
    fake.fail(base)
    assert word(fake, base) is Standing.BASELINE
    assert standing_of_trial(fake.study, fake.study.trials[base]) is Standing.FAILED


def test_a_program_without_a_result_runs_or_failed_or_was_pruned(fake: FakeStudy) -> None:
    names = [fake.claim(parent="t0001") for _ in range(4)]
    fake.start(names[1])
    fake.fail(names[2], FailReason.OUT_OF_MEMORY)
    fake.fail(names[3], FailReason.PRUNED)
    assert [word(fake, name) for name in names] == [
        Standing.RUNNING, Standing.RUNNING, Standing.FAILED, Standing.PRUNED,
    ]  # fmt: skip


def test_a_result_waits_for_the_noise_floor() -> None:
    fake = FakeStudy()
    fake.finish(fake.baseline(), 2.2)
    early = fake.try_change(loss=2.0)
    assert word(fake, early) is Standing.UNJUDGED
    fake.claim(program=early)
    assert word(fake, early) is Standing.UNJUDGED


def test_a_promising_first_run_leads_and_a_bad_one_is_discarded(fake: FakeStudy) -> None:
    good, bad, same = (fake.try_change(loss=loss, parent="t0001") for loss in (2.15, 2.3, 2.201))
    assert [word(fake, name) for name in (good, bad, same)] == [
        Standing.LEADING, Standing.DISCARDED, Standing.INCONCLUSIVE,
    ]  # fmt: skip


def test_promising_against_the_parent_alone_is_no_lead(fake: FakeStudy) -> None:
    """The workers do not build on it, whatever the level of its verdict says."""
    leader = fake.try_change(loss=2.1)
    second = fake.try_change(loss=2.17, parent="t0001")
    verdict = fake.study.programs[second].verdict
    assert verdict is not None and verdict.level == "provisional" and not verdict.leads
    assert (word(fake, leader), word(fake, second)) == (Standing.LEADING, Standing.INCONCLUSIVE)


def test_who_led_is_superseded_and_leads_again_when_the_new_leader_falls(fake: FakeStudy) -> None:
    first = fake.try_change(loss=2.15)
    second = fake.try_change(loss=2.08)
    assert (word(fake, first), word(fake, second)) == (Standing.SUPERSEDED, Standing.LEADING)
    fake.replicate(second, 2.4)
    assert (word(fake, first), word(fake, second)) == (Standing.LEADING, Standing.DISCARDED)


def test_what_is_kept_stays_kept_when_another_leads(fake: FakeStudy) -> None:
    proven = fake.try_change(loss=2.0)
    assert word(fake, proven) is Standing.LEADING
    assert fake.hold_finals(losses={"t0001": 2.2, proven: 2.0}).kept
    assert word(fake, proven) is Standing.KEPT
    newer = fake.try_change(loss=1.9)
    assert (word(fake, proven), word(fake, newer)) == (Standing.KEPT, Standing.LEADING)
    assert [program.name for program in kept(fake.study)] == [proven]


@pytest.mark.parametrize("seed", range(6))
def test_the_incumbent_is_the_baseline_or_leads_or_is_kept(seed: int) -> None:
    study = demo_study(seed=seed).study
    assert study.incumbent is not None
    assert standing(study, study.incumbent) in {Standing.BASELINE, Standing.LEADING, Standing.KEPT}
    assert sum(standing(study, program) is Standing.LEADING for program in study.programs.values()) <= 1


@pytest.mark.parametrize("seed", range(6))
def test_the_changes_end_at_what_each_program_is_now(seed: int) -> None:
    study = demo_study(seed=seed).study
    last = {change.program: change.standing for change in changes(study)}
    assert last == {name: standing(study, p) for name, p in study.programs.items() if p.verdict is not None}


def test_a_failed_replicate_is_a_failed_trial_of_a_program_that_leads(fake: FakeStudy) -> None:
    good = fake.try_change(loss=2.1)
    failed = fake.claim(program=good)
    fake.fail(failed)
    assert standing_of_trial(fake.study, fake.study.trials[failed]) is Standing.FAILED
    assert word(fake, good) is Standing.LEADING


@pytest.fixture(scope="module")
def study() -> StudyState:
    fake = demo_study(seed=3, pairs=16)
    fake.fail(fake.claim(parent="t0001"), FailReason.PRUNED)
    return fake.study


@pytest.fixture(scope="module")
def words(study: StudyState) -> dict[str, str]:
    words = {name: str(standing(study, program)) for name, program in study.programs.items()}
    assert len(set(words.values())) >= 6, words
    return words


class TestOneWordEverywhere:
    """Status, report, figures, log and briefing show the same word for the same program."""

    def test_status(self, study: StudyState, words: dict[str, str]) -> None:
        summary = summarize(study)
        shown = {row.program: str(row.standing) for row in summary.ranking}
        assert shown == {name: words[name] for name in shown}
        lines = {line.split()[1]: line for line in ranking_lines(summary, rows=100)}
        console = Console(width=200, record=True, file=io.StringIO())
        console.print(ranking_table(summary, rows=100))
        table = {line.split()[1]: line for line in console.export_text().splitlines() if line.strip()}
        for name in shown:
            assert f" {words[name]} " in lines[name] and f" {words[name]} " in table[name]

    def test_report(self, study: StudyState, words: dict[str, str]) -> None:
        named = {section.title: section for section in sections(study)}
        ranking = named["Programs, best first"]
        column = ranking.columns.index("standing")
        assert {row[1]: row[column] for row in ranking.rows} == {row[1]: words[row[1]] for row in ranking.rows}
        refuted = {row[1] for row in named["What did not help"].rows}
        assert refuted == {name for name, said in words.items() if said == "discarded"}

    def test_figures(self, study: StudyState, words: dict[str, str]) -> None:
        for figure in (history(study), lineage(study), pareto(study), curves(study)):
            marked = [
                (text.partition("<b>")[2].partition("</b>")[0], trace.name)
                for trace in figure.data
                for text in ([trace.hovertext] if isinstance(trace.hovertext, str) else trace.hovertext or ())
                if trace.name in set(Standing)
            ]
            assert marked
            for trial_id, shown in marked:
                trial = study.trials[trial_id]
                assert shown == (
                    words[trial.claim.program] if trial.reason is None else standing_of_trial(study, trial)
                )

    def test_log(self, study: StudyState, words: dict[str, str]) -> None:
        said = {}
        for line in EventLines().fresh(study):
            name, _, rest = line[9:].strip().partition(" ")
            if name in words and rest.partition(":")[0] in set(Standing):
                said[name] = rest.partition(":")[0]
        assert said == {name: words[name] for name, program in study.programs.items() if program.verdict is not None}

    def test_briefing(self, study: StudyState, words: dict[str, str]) -> None:
        base = constants_of(study)
        told = compute_briefing(
            study, agent_id="worker_1", role="climber", program_text="", read_source=lambda commit: base,
            read_seq=1, memory="shared", seed=1, sigma=None,
        )  # fmt: skip
        assert {a.trial_id: str(a.standing) for a in told.attempts} == {n: w for n, w in words.items() if n != "t0001"}


def constants_of(study: StudyState) -> str:
    """A program that declares every constant which the study's claims name."""
    names = {name for program in study.programs.values() for name in program.first.claim.constants_changed}
    source = "".join(f"{name} = 1  # search: int(1, 9)\n" for name in sorted(names))
    assert set(constants.parse(source)) == names
    return source
