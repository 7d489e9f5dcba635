"""A record of any size is written: its longest texts and lists lose their ends, its ids do not."""

import math
from pathlib import Path

import pytest
from factories.records import claim, example_records

from swarm.brain import Brain
from swarm.records import KNOWN_KINDS, MAX_LINE_BYTES, Note, Record, fitted, parse_record

EXAMPLES = example_records()
IDS = {"trial_id", "program", "parent", "previous", "tree_sha256", "prev", "study_id", "kind", "seq", "id", "commit"}


CHOSEN = {"grade", "noise", "op"}  # from a list of words


def test_there_is_an_example_of_every_kind() -> None:
    assert set(EXAMPLES) == set(KNOWN_KINDS)


def blown_up(value: object, size: int) -> object:
    match value:
        case str():
            return value + "\U0001f642\\" * size
        case [float(), float()]:
            return value
        case [*items]:
            return [blown_up(item, 100) for item in items] * size
        case dict():
            return {key: item if key in CHOSEN else blown_up(item, size) for key, item in value.items()}
    return value


@pytest.mark.parametrize("size", [300, 3000])
@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_kind_fits_with_its_ids_however_long_the_rest_is(kind: str, size: int, tmp_path: Path) -> None:
    fixed = IDS | {"operator", "status", "state", "reason", "decision", "level", "action", "memory", "budget"}
    fixed |= {"description", "objective", "score", "why", "detail", "finals"}
    fields = EXAMPLES[kind].model_dump(mode="json")
    large = {name: value if name in fixed else blown_up(value, size) for name, value in fields.items()}
    if kind == "proposal_claimed":
        large["constants_changed"] = {f"{'N' * 50}{n}": ["\U0001f642" * 200, "b" * 200] for n in range(size)}
    if kind == "trial_finished":
        large["resources"]["overhead_s"] = {f"phase {n}": 0.1 for n in range(size)}
    (written,) = Brain(tmp_path / "brain.jsonl").append(parse_record(large))
    assert len((tmp_path / "brain.jsonl").read_bytes()) <= MAX_LINE_BYTES
    for name in (IDS - {"prev", "seq", "id"}) & fields.keys():
        assert getattr(written, name) == fields[name], name


def test_what_fits_is_not_touched() -> None:
    for record in EXAMPLES.values():
        assert fitted(record) is record


@pytest.mark.parametrize(
    "record",
    [
        Note.model_construct(kind="note", study_id="s", validation_loss=math.nan, detail="x" * 99_999),
        Note(study_id="s").model_copy(update={"detail": "\ud800" * 99_999}),
        claim().model_copy(update={"seed": 10**5000}),
    ],
    ids=["nan", "half a character", "a number that nobody writes"],
)
def test_what_cannot_be_written_at_all_is_left_to_whoever_encodes_it(record: Record) -> None:
    assert fitted(record) is record
