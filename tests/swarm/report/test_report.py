import base64
import json
import re
import zlib

import pytest
from factories.studies import FakeStudy, demo_study
from plotly.offline import get_plotlyjs

from swarm.records import FailReason
from swarm.report.contents import sections
from swarm.report.memory import ALL, difference_of_shares, memory_rows, memory_table
from swarm.report.render import report_html, report_markdown, summary_fragment
from swarm.verdict.standing import in_order


@pytest.fixture(scope="module")
def demo() -> FakeStudy:
    return demo_study()


@pytest.fixture(scope="module")
def page(demo: FakeStudy) -> str:
    return report_html(demo.study)


def inflated(page: str, place: str) -> str:
    """What is packed in the page."""
    found = re.search(rf'<script type="text/plain" id="{place}">([^<]+)</script>', page)
    assert found is not None
    return zlib.decompress(base64.b64decode(found[1])).decode()


def test_the_page_loads_nothing_from_elsewhere(page: str) -> None:
    assert inflated(page, "plotly") == get_plotlyjs()
    assert not re.search(r"""<(script|link|img|iframe)[^>]*\s(src|href)\s*=\s*["']?(https?:)?//""", page)


def test_the_stand_in_is_marked_in_red_everywhere(page: str, demo: FakeStudy) -> None:
    assert 'class="warning" style="color:#fff;background:#a83a00' in page
    for text in (page, report_markdown(demo.study), summary_fragment(demo.study)):
        assert "Stand-in data, no claim about CIFAR-100" in text
    real = FakeStudy(data="cifar100").study
    for text in (report_html(real), report_markdown(real), summary_fragment(real)):
        assert "no claim about" not in text


def test_what_workers_wrote_cannot_become_markup(page: str) -> None:
    fake = FakeStudy()
    fake.measure_noise()
    fake.try_change(loss=2.0, description="<script>alert(1)</script> a | b \\")
    fake.refuse(code="<img src=x>")
    for text in (report_html(fake.study), summary_fragment(fake.study), report_markdown(fake.study)):
        assert "<script>alert" not in text and "<img src=x>" not in text
    rows = [line for line in report_markdown(fake.study).splitlines() if "alert" in line]
    assert rows and all(r"a \| b \\" in row for row in rows)


def test_every_program_is_ranked_with_its_evidence(demo: FakeStudy) -> None:
    ranking = next(section for section in sections(demo.study) if section.title == "Programs, best first")
    assert [row[1] for row in ranking.rows] == [program.name for program in in_order(demo.study)]
    for row in ranking.rows:
        program = demo.study.programs[row[1]]
        assert row[4] == str(len(program.costs))
        assert (row[3] == "n/a") == (len(program.costs) < 2)
        assert program.verdict is None or row[6] == f"{program.verdict.probability:.2f}"


def test_failures_and_refusals_are_counted_by_reason() -> None:
    fake = FakeStudy()
    fake.measure_noise()
    for reason in (FailReason.CRASHED, FailReason.OUT_OF_MEMORY, FailReason.CRASHED):
        fake.fail(fake.claim(parent="t0001"), reason)
    fake.refuse()
    named = {section.title: section for section in sections(fake.study)}
    fake.fail(fake.claim(parent="t0001"), FailReason.PRUNED)
    named = {section.title: section for section in sections(fake.study)}
    assert named["Failed trials"].note == "2 crashed"
    assert named["Infeasible: too large for the device"].note == "1 out_of_memory"
    assert named["Infeasible: too large for the device"].rows[0][2] == "900 MiB"
    assert named["Ended early"].note.startswith("1 trial ended before")
    assert "3 failed, 1 ended early" in str(named["Overview"].rows)
    assert named["Refused before they cost training"].note == "1 duplicate"


def test_a_study_without_a_trial_gives_a_report_too() -> None:
    text = report_markdown(FakeStudy().study)
    assert "No program has a result yet." in text and "not measured yet" in text
    assert "No study" in summary_fragment(None)


def test_markdown_tables_are_rectangular(demo: FakeStudy) -> None:
    for block in report_markdown(demo.study).split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_memory_counts_valid_citations_predictions_and_climbs() -> None:
    fake = FakeStudy()
    for loss in (2.20, 2.21, 2.19, 2.20, 2.20):
        fake.finish(fake.baseline(), loss)
    fake.try_change(loss=2.10, parent="t0001", cites=("t0001",), nearest=("t0001",), expects=-0.05, agent_id="worker_1")
    fake.try_change(loss=2.30, parent="t0001", cites=("t0099", "t0001"), nearest=("t0001",), expects=-0.01)
    fake.try_change(loss=2.00, parent="t0006", nearest=("t0001",), agent_id="worker_2")
    fake.replicate("t0008", 2.001)
    fake.refuse(agent_id="worker_2")
    fake.refuse(agent_id="worker_2", code="syntax")
    first, second = memory_rows(fake.study)
    assert (first.proposals, first.cited_when_related) == (2, 1.0)
    assert first.citations_valid == pytest.approx(2 / 3)
    assert (first.predictions, first.direction_right) == (2, 0.5)
    assert first.prediction_error == pytest.approx((0.05 + 0.11) / 2)
    assert (first.gains, first.climb_share) == (1, 1.0)
    assert (second.proposals, second.cited_when_related, second.citations_valid) == (1, 0.0, None)
    assert (second.refused, second.duplicates_refused, second.climb_share) == (2, 1, 0.0)
    assert "67% of 3" in memory_table([first], fake.study.objective)
    assert json.loads(second.model_dump_json())["prediction_error"] is None


def test_memory_is_counted_for_each_worker_and_each_of_its_proposers() -> None:
    fake = FakeStudy()
    for loss in (2.20, 2.21, 2.19, 2.20, 2.20):
        fake.finish(fake.baseline(), loss)
    fake.try_change(loss=2.10, parent="t0001", proposer="tpe")
    fake.try_change(loss=2.30, parent="t0001", proposer="openai:m", briefing_tokens=900)
    fake.try_change(loss=2.31, parent="t0001", proposer="openai:m", briefing_tokens=1200, effect=0.1)
    fake.refuse(proposer="openai:m")
    fake.try_change(loss=2.30, parent="t0001", proposer="tpe", agent_id="worker_2")
    rows = {(row.agent_id, row.proposer): row for row in memory_rows(fake.study)}
    assert list(rows) == [("worker_1", ALL), ("worker_1", "openai:m"), ("worker_1", "tpe"), ("worker_2", "tpe")]
    assert [row.proposals for row in rows.values()] == [3, 2, 1, 1]
    assert [row.refused for row in rows.values()] == [1, 1, 0, 0]
    assert [row.gains for row in rows.values()] == [1, 0, 1, 0]
    assert [row.most_tokens for row in rows.values()] == [1200, 1200, None, None]
    table = memory_table(list(rows.values()), fake.study.objective).splitlines()
    assert table[1].split()[:3] == ["worker_1", "3", "1"] and table[1].endswith(" 1,200")
    assert table[2].split()[:3] == ["worker_1", "openai:m", "2"] and table[3].endswith(" -")
    assert len({len(line) for line in table[:5]}) == 1
    assert memory_table([], fake.study.objective) == "No proposal yet."


def test_the_lift_compares_who_cites_a_success_with_who_could_have() -> None:
    fake = FakeStudy()
    for loss in (2.20, 2.21, 2.19, 2.20, 2.20):
        fake.finish(fake.baseline(), loss)
    early = fake.try_change(loss=2.30, parent="t0001")
    helped = fake.try_change(loss=2.00, parent="t0001")  # made before anything had helped: on neither side
    assert memory_rows(fake.study)[0].lift is None
    fake.try_change(loss=1.80, cites=(helped,))
    fake.try_change(loss=2.30, parent="t0001", cites=(helped, early))
    for _ in range(3):
        fake.try_change(loss=2.30, parent="t0001", cites=(early,))
    fake.claim(parent="t0001", cites=(helped,))  # runs still
    lift = memory_rows(fake.study)[0].lift
    assert lift is not None
    assert (lift.citing, lift.others, lift.mean) == (2, 3, 0.5)
    assert lift.low < 0 < lift.mean < lift.high <= 1
    assert f"{100 * lift.low:+.0f}" in memory_table(memory_rows(fake.study), fake.study.objective)


def test_the_interval_of_two_shares_is_newcombes() -> None:
    """His example, table II (a): 56/70 against 48/80 gives 0.2 [0.0524, 0.3339]."""
    lift = difference_of_shares([True] * 56 + [False] * 14, [True] * 48 + [False] * 32)
    assert lift is not None
    assert (lift.mean, lift.low, lift.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert difference_of_shares([], [True]) is None


def test_a_citation_of_something_that_was_not_there_yet_is_not_valid() -> None:
    fake = FakeStudy()
    fake.measure_noise()
    fake.try_change(parent="t0001", cites=("t0006",))  # itself: claimed after the brain that it was made on
    assert memory_rows(fake.study)[0].citations_valid == 0.0
