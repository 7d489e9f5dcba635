import csv
import io
import json

import pytest
from factories.studies import FakeStudy

from swarm.records import FailReason
from swarm.report.export import EXPORTERS

TSV_COLUMNS = ("commit", "validation_loss", "memory_gb", "status", "description")


@pytest.fixture
def fake() -> FakeStudy:
    fake = FakeStudy(seed=1)
    fake.measure_noise()
    fake.try_change(loss=1.5, description="wider\tstem\nand deeper", peak_mib=1536)
    fake.fail(fake.claim(parent="t0001", description="typo"))
    fake.fail(fake.claim(parent="t0001", description="too big"), FailReason.OUT_OF_MEMORY)
    fake.claim(parent="t0001", description="still waiting")
    return fake


def test_tsv_has_the_five_columns_and_one_line_a_finished_trial(fake: FakeStudy) -> None:
    lines = EXPORTERS["tsv"](fake.study).splitlines()
    assert tuple(lines[0].split("\t")) == TSV_COLUMNS
    assert len(lines) == 1 + 8
    assert all(len(line.split("\t")) == 5 for line in lines)
    commit, loss, memory, status, description = lines[6].split("\t")
    assert (len(commit), loss, memory, status) == (7, "1.500000", "1.5", "leading")
    assert description == "wider stem and deeper"


def test_a_failure_has_a_reason_and_no_number(fake: FakeStudy) -> None:
    lines = EXPORTERS["tsv"](fake.study).splitlines()
    assert [line.split("\t")[1:4] for line in lines[7:]] == [["", "", "crash"], ["", "", "out_of_memory"]]
    last = json.loads(EXPORTERS["jsonl"](fake.study).splitlines()[-1])
    assert last["validation_loss"] is None and last["status"] == "out_of_memory"


def test_csv_and_jsonl_hold_the_same_rows(fake: FakeStudy) -> None:
    rows = list(csv.DictReader(io.StringIO(EXPORTERS["csv"](fake.study))))
    objects = [json.loads(line) for line in EXPORTERS["jsonl"](fake.study).splitlines()]
    assert [row["trial_id"] for row in rows] == [item["trial_id"] for item in objects]
    assert set(rows[0]) == set(objects[0])
    assert {row["data"] for row in rows} == {"standin"}


def test_an_empty_study_exports_headers_only() -> None:
    study = FakeStudy().study
    assert EXPORTERS["tsv"](study).splitlines() == ["\t".join(TSV_COLUMNS)]
    assert len(EXPORTERS["csv"](study).splitlines()) == 1
    assert EXPORTERS["jsonl"](study) == ""
