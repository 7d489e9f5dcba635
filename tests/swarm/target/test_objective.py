"""What is optimised: where it is written, and that a maximised one is right from the fold to the figures."""

import io
import json

import pytest
from factories.briefings import PROGRAM, attempt, briefing
from factories.studies import FakeStudy
from pydantic import ValidationError
from rich.console import Console

from swarm.cli.render import EventLines, headline, ranking_lines, ranking_table
from swarm.records import Decision, ObjectiveTerms, StudyOpened, parse_record
from swarm.report.export import EXPORTERS
from swarm.report.figures import FIGURES, history
from swarm.report.memory import memory_rows, memory_table
from swarm.report.render import report_html, report_markdown
from swarm.report.summary import summarize
from swarm.target.objective import Objective
from swarm.verdict.early_stop import false_prunes
from swarm.verdict.standing import Standing, standing
from swarm.watch.cell import headline as notebook_headline
from workers.briefing import compute_briefing
from workers.proposers.reply import Draft, Header, to_proposal
from workers.redact import Redactor
from workers.render import render

LOSS = Objective()
ACCURACY = Objective(name="accuracy", unit="", direction="maximize", digits=2)
BASELINE = (0.60, 0.62, 0.58, 0.60, 0.60)
SAYS_LOSS = ("loss", "Loss", "nats")


def test_a_cost_is_less_where_the_value_is_better() -> None:
    assert (LOSS.cost(2.1), LOSS.value(2.1)) == (2.1, 2.1)
    assert ACCURACY.cost(0.7) < ACCURACY.cost(0.6)
    assert ACCURACY.value(ACCURACY.cost(0.7)) == 0.7
    assert str(ACCURACY.cost(0.0)) == "0.0"


def test_numbers_are_written_in_the_objectives_own_way() -> None:
    assert (LOSS.label, LOSS.key, LOSS.better) == ("validation loss (nats)", "validation_loss", "lower")
    assert (LOSS.text(2.10344), LOSS.change(-0.0123), LOSS.text(None)) == ("2.1034", "-0.0123", "n/a")
    assert (LOSS.gain(-0.0123), LOSS.gain(0.5)) == ("better by 0.0123 nats", "worse by 0.5000 nats")
    assert (ACCURACY.label, ACCURACY.key, ACCURACY.better) == ("accuracy", "accuracy", "higher")
    assert (ACCURACY.text(-0.714), ACCURACY.change(-0.1), ACCURACY.gain(-0.1)) == ("0.71", "+0.10", "better by 0.10")


def test_a_study_that_an_older_version_opened_minimises_its_validation_loss() -> None:
    (opened,) = FakeStudy().records
    fields = json.loads(opened.model_dump_json(exclude={"objective"}))
    assert "objective" not in fields
    record = parse_record(fields)
    assert isinstance(record, StudyOpened) and Objective.of(record.objective) == LOSS


@pytest.mark.parametrize("wrong", [{"direction": "up"}, {"digits": 10}, {"name": ""}, {"goal": "x"}])
def test_terms_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Objective.model_validate(wrong)


class TestMaximised:
    """Better is up, the incumbent is the largest, and nothing speaks of a loss."""

    @pytest.fixture
    def fake(self) -> FakeStudy:
        fake = FakeStudy(objective=ACCURACY)
        for value in BASELINE:
            fake.finish(fake.baseline(), value)
        self.good = fake.try_change(loss=0.75, parent="t0001", constants={"MAX_LR": (0.01, 0.1)}, expects=-0.05)
        self.bad = fake.try_change(loss=0.40, parent="t0001", constants={"MAX_LR": (0.01, 0.5)}, expects=-0.05)
        self.same = fake.try_change(loss=0.603, parent="t0001", constants={"MAX_LR": (0.01, 0.2)})
        return fake

    def test_the_fold_and_the_verdicts(self, fake: FakeStudy) -> None:
        study = fake.study
        assert [program.name for program in study.ranked()] == [self.good, self.same, "t0001", self.bad]
        assert study.incumbent is study.programs[self.good]
        assert [standing(study, study.programs[name]) for name in ("t0001", self.good, self.bad, self.same)] == [
            Standing.BASELINE, Standing.LEADING, Standing.DISCARDED, Standing.INCONCLUSIVE,
        ]  # fmt: skip
        good, bad = study.programs[self.good].verdict, study.programs[self.bad].verdict
        assert good is not None and bad is not None
        assert good.why.startswith("better by 0.15 (") and bad.why.startswith("worse by 0.20 (")
        fake.hold_finals(slots=6, losses={"t0001": 0.6, self.good: 0.75})
        confirmed = study.programs[self.good].verdict
        assert confirmed is not None and confirmed.decision is Decision.KEEP

    def test_status(self, fake: FakeStudy) -> None:
        summary = summarize(fake.study)
        best, worst = summary.ranking[0], summary.ranking[-1]
        assert (best.program, best.loss, worst.program) == (self.good, 0.75, self.bad)
        assert best.delta_baseline == pytest.approx(0.15) and worst.delta_baseline == pytest.approx(-0.20)
        assert (summary.incumbent_loss, summary.objective) == (0.75, ACCURACY)
        console = Console(width=200, record=True, file=io.StringIO())
        console.print(headline(summary), ranking_table(summary))
        text = "\n".join([*ranking_lines(summary), console.export_text(), notebook_headline(fake.study)])
        assert "accuracy" in text and "+0.15" in text and "incumbent t0006 at 0.75" in text
        assert not any(word in text for word in SAYS_LOSS)

    def test_log(self, fake: FakeStudy) -> None:
        text = "\n".join(EventLines().fresh(fake.study))
        assert f"{self.good} accuracy 0.75" in text
        assert not any(word in text for word in SAYS_LOSS)

    def test_report(self, fake: FakeStudy) -> None:
        text = report_markdown(fake.study)
        assert "accuracy, higher is better" in text and "+0.15" in text
        table = memory_table(memory_rows(fake.study), fake.study.objective)
        assert not any(word in text + table for word in SAYS_LOSS)
        assert ">accuracy, higher is better<" in report_html(fake.study)

    @pytest.mark.parametrize("name", FIGURES)
    def test_figures(self, name: str, fake: FakeStudy) -> None:
        changed = {"LR": (1, 2)}
        fake.finish(fake.claim(parent="t0001", constants=changed), 0.59, curve=((0.5, 3.0), (1.0, 2.0)))
        figure = FIGURES[name](fake.study)
        axes = [*figure.select_xaxes(), *figure.select_yaxes()]
        titles = [figure.layout.title.text, *(axis.title.text or "" for axis in axes)]
        titles += [text for axis in axes for text in axis.ticktext or ()]
        assert not any(word in title for title in titles for word in SAYS_LOSS) or name == "curves"
        assert any("accuracy" in title for title in titles) or name in ("curves", "timeline", "memory", "cost")

    def test_what_is_far_off_is_drawn_at_the_lower_edge(self, fake: FakeStudy) -> None:
        for _ in range(6):
            fake.try_change(loss=0.61, parent="t0001")
        lost = fake.try_change(loss=-3.0, parent="t0001")
        failed = fake.claim(parent="t0001")
        fake.fail(failed)
        figure = history(fake.study)
        low, high = figure.layout.yaxis.range
        heights = {
            text.partition("<b>")[2][:5]: (y, symbol)
            for trace in figure.data
            if trace.name in set(Standing)
            for text, y, symbol in zip(trace.hovertext, trace.y, trace.marker.symbol, strict=True)
        }
        assert -1.0 < low < heights[lost][0] < 0.6 < heights[self.good][0] < high
        assert heights[failed][0] == heights[lost][0] and heights[lost][1] == "triangle-down-open"

    def test_export(self, fake: FakeStudy) -> None:
        head, *lines = EXPORTERS["tsv"](fake.study).splitlines()
        assert head.split("\t") == ["commit", "accuracy", "memory_gb", "status", "description"]
        assert [line.split("\t")[1:4:2] for line in lines[5:7]] == [["0.750000", "leading"], ["0.400000", "discard"]]
        rows = [json.loads(line) for line in EXPORTERS["jsonl"](fake.study).splitlines()]
        assert rows[5]["accuracy"] == 0.75 and rows[5]["delta"] == pytest.approx(0.15)
        assert not any(word in EXPORTERS[name](fake.study) for name in EXPORTERS for word in SAYS_LOSS)

    def test_what_a_proposer_is_told_and_answers(self, fake: FakeStudy) -> None:
        told = compute_briefing(
            fake.study, agent_id="worker_1", role="climber", program_text="", read_source=lambda commit: PROGRAM,
            read_seq=1, memory="shared", seed=1, sigma=0.014,
        )  # fmt: skip
        good = next(a for a in told.attempts if a.trial_id == self.good)
        assert (good.cost, good.helped) == (-0.75, True) and good.delta == pytest.approx(-0.15)
        prompt = render(told)
        (record,) = [line for line in prompt.user.splitlines() if f'"id": "{self.good}"' in line]
        assert json.loads(record)["accuracy"] == 0.75 and json.loads(record)["delta"] == 0.15
        assert "the accuracy: higher is better" in prompt.user and "0.75 over 1 run" in prompt.user
        assert "the accuracy to change (positive is better)" in prompt.system and '"expects": 0.01' in prompt.system
        of_the_harness = "Its loss at the best temperature"  # of the score of a sealed target, as the fake's is
        said = [line for line in prompt.user.splitlines() if of_the_harness not in line]
        assert not any(word in line for line in said for word in SAYS_LOSS)
        draft = Draft(Header(hypothesis="h", expects=0.02), PROGRAM.replace("DEPTH = 3", "DEPTH = 4"))
        proposal = to_proposal(draft, told, proposer="p", usage=None, redact=Redactor({}))
        assert proposal.expects == -0.02

    def test_early_stopping_counts_a_higher_end_as_better(self, fake: FakeStudy) -> None:
        audited = fake.claim(parent="t0001")
        fake.finish(audited, 0.9, audit=True)
        assert false_prunes(fake.study).wrong == 1


def test_a_hand_written_briefing_defaults_to_the_loss() -> None:
    told = briefing((attempt("t0002", {"MAX_LR": 0.02}, loss=1.9),), nearest=("t0002",))
    text = render(told).user
    assert '"validation_loss": 1.9' in text and '"delta": -0.1' in text
    assert ObjectiveTerms() == ObjectiveTerms.model_validate(LOSS.model_dump())
