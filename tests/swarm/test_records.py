"""The vocabulary refuses what would be a lie, and reads what older and newer writers wrote."""

import json

import pytest
from pydantic import ValidationError

from swarm.records import (
    KNOWN_KINDS,
    FailReason,
    History,
    Note,
    Record,
    Score,
    TrialFinished,
    TrialState,
    UnknownRecord,
    parse_record,
)

SCORE = Score(validation_loss=1.5, top1=0.5, top5=0.8, calibrated_loss=1.4, rows=5000)


def test_a_complete_trial_has_a_score_and_no_reason() -> None:
    TrialFinished(trial_id="t0001", state=TrialState.COMPLETE, score=SCORE, seed=1)
    with pytest.raises(ValidationError, match="a score and no reason"):
        TrialFinished(trial_id="t0001", state=TrialState.COMPLETE, seed=1)
    with pytest.raises(ValidationError, match="a score and no reason"):
        TrialFinished(trial_id="t", state=TrialState.COMPLETE, score=SCORE, reason=FailReason.CRASHED, seed=1)


def test_a_failed_trial_has_a_reason_and_no_score() -> None:
    TrialFinished(trial_id="t0001", state=TrialState.FAILED, reason=FailReason.TIMEOUT, seed=1)
    with pytest.raises(ValidationError, match="a reason and no score"):
        TrialFinished(trial_id="t", state=TrialState.FAILED, reason=FailReason.TIMEOUT, score=SCORE, seed=1)
    with pytest.raises(ValidationError, match="a reason and no score"):
        TrialFinished(trial_id="t0001", state=TrialState.FAILED, seed=1)


def test_every_record_has_the_three_keys_of_the_original_format() -> None:
    for model in KNOWN_KINDS.values():
        assert {"agent_id", "validation_loss", "description"} <= model.model_fields.keys()


def test_a_line_of_the_original_run_is_history() -> None:
    line = '{"agent_id": "worker_2", "validation_loss": 3.588812, "description": "batch_size=512"}'
    record = parse_record(json.loads(line))
    assert isinstance(record, History)
    assert (record.agent_id, record.validation_loss) == ("worker_2", 3.588812)


def test_a_line_without_kind_and_keys_is_not_a_record() -> None:
    with pytest.raises(ValueError, match="no kind, and no agent_id, description, validation_loss"):
        parse_record({"hello": 1})


def test_an_unknown_kind_is_kept_with_its_fields() -> None:
    record = parse_record({"kind": "certificate", "agent_id": "a", "study_id": "s", "seeds": [1, 2]})
    assert isinstance(record, UnknownRecord)
    assert record.model_dump()["seeds"] == [1, 2]


def test_a_newer_field_of_a_known_kind_is_ignored() -> None:
    assert isinstance(parse_record({"kind": "note", "detail": "x", "colour": "red"}), Note)


def test_records_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Record(kind="note").agent_id = "somebody"  # type: ignore[misc]
