"""What a model or a program wrote cannot act on the terminal of whoever prints a record."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from factories.records import example_records
from pydantic import BaseModel, BeforeValidator

from swarm.brain import Brain
from swarm.records import KNOWN_KINDS, Note, Proposal, ProposalClaimed, block, one_line, parse_record

EXAMPLES = example_records()

HOSTILE = "set\x1b[2J\x1b]0;title\x07 LR\x9b31m\u202e to\u2066 2\u200b\ud800\r\nand\u2028stop\x00"
SAFE_LINE = "set[2J]0;title LR31m to 2 and stop"
SAFE_BLOCK = "set[2J]0;title LR31m to 2\nand\nstop"


def test_a_line_loses_what_acts_and_keeps_what_is_read() -> None:
    assert one_line(HOSTILE) == SAFE_LINE
    assert one_line("größer, 学習率, 5 % 🙂") == "größer, 学習率, 5 % 🙂"


def test_a_block_keeps_its_lines_and_tabs() -> None:
    assert block(HOSTILE) == SAFE_BLOCK
    assert block("a\n\tb\n") == "a\n\tb\n"


def test_a_hostile_description_is_safe_from_the_append_on(tmp_path: Path) -> None:
    brain = Brain(tmp_path / "brain.jsonl")
    (note,) = brain.append(Note(agent_id="worker_1", study_id="s", description=HOSTILE, detail=HOSTILE))
    assert (note.description, note.detail) == (SAFE_LINE, SAFE_BLOCK)  # type: ignore[attr-defined]
    assert json.loads(brain.path.read_text(encoding="utf-8"))["description"] == SAFE_LINE


def test_a_line_of_an_older_writer_is_safe_when_it_is_read() -> None:
    fields = {"kind": "note", "agent_id": "w\x1b[1m", "study_id": "s", "validation_loss": None, "description": HOSTILE}
    record = parse_record(json.loads(json.dumps(fields)))
    assert (record.agent_id, record.description) == ("w[1m", SAFE_LINE)


def test_what_a_program_calls_its_constants_and_sets_them_to_is_safe() -> None:
    claim = ProposalClaimed.model_validate(
        {
            "description": "d", "operator": "tune", "family": "loss\x1b", "parent": None, "tree_sha256": "", "seed": 1,
            "read_seq": 1, "proposer": "scripted", "constants_changed": {"NAME": ["a\x1b[31mb", True], "LR": [1, 0.5]},
        }
    )  # fmt: skip
    assert claim.family == "loss"
    assert claim.constants_changed == {"NAME": ("a[31mb", True), "LR": (1, 0.5)}


def test_the_program_of_a_proposal_is_not_touched() -> None:
    source = "A = '\u200b'\n\x0c\nB = 1\n"
    proposal = Proposal.model_validate(
        {"operator": "tune", "family": "f", "description": "d", "parent": "t0001", "source": source, "proposer": "p"}
    )
    assert proposal.source == source


@pytest.mark.parametrize("model", [*KNOWN_KINDS.values(), Proposal])
def test_no_field_of_a_record_takes_text_as_it_comes(model: type[BaseModel]) -> None:
    unsafe = {
        name
        for name, field in model.model_fields.items()
        if any(not safe for safe in texts(field.annotation, tuple(field.metadata)))
    }
    assert unsafe <= {"source"}


def texts(annotation: object, metadata: tuple[object, ...] = ()) -> Iterator[bool]:
    """For each text below a field's type, whether it is made safe."""
    if annotation is str:
        yield any(isinstance(item, BeforeValidator) for item in metadata)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for field in annotation.model_fields.values():
            yield from texts(field.annotation, tuple(field.metadata))
    else:
        own = tuple(getattr(annotation, "__metadata__", ()))
        for part in get_args(annotation):
            if part not in own:
                yield from texts(part, own)


HOSTILE_PIECES = {
    "ESC": "\x1b[2J", "C1": "\x9b31m", "NEL": "\x85", "bidi": "\u202e", "isolate": "\u2066", "arabic mark": "\u061c",
    "zero width": "\u200b", "joiner": "\u200d", "BOM": "\ufeff", "line separator": "\u2028", "paragraph": "\u2029",
    "NUL": "\0", "CR": "\r", "backspace": "\x08", "DEL": "\x7f", "half": "\ud800", "tag": "\U000e0041", "FF": "\x0c",
}  # fmt: skip


def deep_texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, item in value.items():
                yield from deep_texts(key)
                yield from deep_texts(item)
        case list() | tuple():
            for item in value:
                yield from deep_texts(item)


@pytest.mark.parametrize("piece", HOSTILE_PIECES.values(), ids=HOSTILE_PIECES)
@pytest.mark.parametrize("kind", [*EXAMPLES, "of_a_later_version"])
def test_no_text_of_any_record_comes_out_as_it_went_in(kind: str, piece: str) -> None:
    """Names of agents, targets, files and constants, of fields that nobody knows, and whatever they hold."""

    def spoiled(value: object, names: bool = False) -> object:
        match value:
            case str():
                return f"{value[:20]}{piece}b"
            case dict():
                pairs = [(key, spoiled(item, key == "overhead_s")) for key, item in value.items()]
                return {spoiled(key) if names else key: item for key, item in pairs}
            case list() | tuple():
                return [spoiled(item) for item in value]
        return value

    fields = EXAMPLES[kind].model_dump(mode="json") if kind in EXAMPLES else {"agent_id": "a", "study_id": "s"}
    kept = {"kind", "operator", "status", "state", "decision", "level", "action", "memory", "budget", "finals"}
    hostile = {
        name: value if name in kept else spoiled(value, name == "constants_changed") for name, value in fields.items()
    }
    if "objective" in hostile:
        hostile["objective"] = {**fields["objective"], "name": f"loss{piece}", "unit": piece}
    if "terms" in hostile:
        chosen = {name: fields["terms"][name] for name in ("grade", "noise")}
        hostile["terms"] = {**hostile["terms"], **chosen}
    extra = spoiled({"x": ["y", {"z": "w"}]}, names=True)
    record = parse_record({**hostile, "kind": kind, f"new{piece}field": extra})
    for text in deep_texts(record.model_dump(mode="json")):
        assert all(char.isprintable() or char in "\n\t" for char in text), repr(text)


def test_a_record_of_an_unknown_kind_may_not_be_a_trap_for_whoever_walks_it() -> None:
    deep: object = 1
    for _ in range(150):
        deep = [deep]
    with pytest.raises(ValueError, match="nested more than"):
        parse_record({"kind": "later", "agent_id": "a", "study_id": "s", "deep": deep})
