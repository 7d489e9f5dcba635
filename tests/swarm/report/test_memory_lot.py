"""Was the shared memory used: proposals by the memory that the lot gave them."""

import pytest
from factories.studies import FakeStudy

from swarm.records import Operator, ProposalRejected
from swarm.report.markdown import report_markdown
from swarm.report.memory_lot import lots, memory_by_lot


def refused(fake: FakeStudy, memory: str, code: str = "duplicate", operator: Operator | None = Operator.TUNE) -> None:
    fake.write(ProposalRejected(code=code, detail="", operator=operator, proposer="m", arm="llm", memory=memory))


@pytest.fixture
def fake() -> FakeStudy:
    fake = FakeStudy()
    fake.measure_noise()
    fake.try_change(loss=1.5, memory="shared", parent="t0001")
    fake.try_change(loss=2.4, memory="shared", parent="t0001")
    fake.try_change(loss=2.5, memory="off", parent="t0001")
    fake.try_change(loss=2.3, parent="t0001")
    refused(fake, "off")
    refused(fake, "off", "vetoed")
    refused(fake, "off", "llm_failed", operator=None)
    refused(fake, "")
    return fake


def test_each_proposal_counts_for_the_memory_that_it_was_given(fake: FakeStudy) -> None:
    shared, shuffled, off = lots(fake.study)
    assert (shared.proposals, sum(shared.repeats), shared.led) == (2, 0, (True, False))
    assert (shuffled.proposals, shuffled.changes) == (0, ())
    assert (off.proposals, sum(off.repeats), off.led, len(off.changes)) == (3, 1, (False,), 1)


def test_another_run_of_a_program_is_no_proposal(fake: FakeStudy) -> None:
    before = lots(fake.study)
    fake.finish(fake.claim(program="t0007"))
    assert [lot.proposals for lot in lots(fake.study)] == [lot.proposals for lot in before]


def test_the_table_says_when_the_numbers_are_too_few(fake: FakeStudy) -> None:
    section = memory_by_lot(fake.study)
    assert [row[0].split()[0] for row in section.rows] == ["shared", "shuffled", "off"]
    assert section.rows[0][1:5] == ("2", "0 (0% of 2)", "1 (50% of 2)", "0")
    assert section.rows[1][1:] == ("0", "n/a", "n/a", "0", "n/a")
    assert section.rows[2][2] == "1 (33% of 3)" and section.rows[2][5].endswith(", over 1")
    assert "±" in section.rows[0][5] and section.rows[0][5].endswith(", over 2")
    assert "Too few to tell whether it spares repeats: 0 proposals in the smallest lot" in section.note
    assert "Too few to tell whether it makes leads: 0 in the smallest lot, and it takes about 250." in section.note
    assert "Share of repeats, shared minus off: -33 points [" in section.note and "not clear" in section.note
    text = report_markdown(fake.study)
    assert "## Was the shared memory used?" in text and "Too few to tell" in text


def test_enough_proposals_are_compared_without_a_warning() -> None:
    fake = FakeStudy()
    fake.measure_noise()
    for _ in range(80):
        for memory, code in (("shared", "syntax"), ("shuffled", "near_duplicate"), ("off", "duplicate")):
            refused(fake, memory, code)
    note = memory_by_lot(fake.study).note
    assert "spares repeats" not in note and "makes leads" in note
    assert "Share of repeats, shared minus shuffled: -100 points" in note and "], clear." in note


def test_a_study_without_a_lot_says_so() -> None:
    section = memory_by_lot(FakeStudy().study)
    assert section.rows == () and section.empty.startswith("No lot was drawn")
    assert "Was the shared memory used?" not in report_markdown(FakeStudy().study)
