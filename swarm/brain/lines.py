"""One record, one line: the codec. Bytes in, values out; no files."""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from swarm.errors import Escaped, Unwritable, contained
from swarm.records import MAX_LINE_BYTES, Record, parse_record
from swarm.records.values import Value

GENESIS = "0" * 64
"""`prev` of the first line of a file."""

_EVERY_LINE_HAS = ("agent_id", "validation_loss", "description")
_OF_A_PLACE = frozenset({"seq", "prev", "read_seq"})  # numbers of lines, and what hangs on them
_NAMES: dict[frozenset[str], set[str]] = {}  # sets of field names, each once; nobody changes one: records are frozen
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that readers skip. `line` counts from 1."""

    line: int
    reason: str


def encode(record: Record) -> bytes:
    """The line of a sealed record, with its newline.

    `prev` comes last, so that the end of every line differs. Raises Unwritable for a number that is not finite, text
    that is not Unicode, more than MAX_LINE_BYTES.
    """
    try:
        fields = record.model_dump(mode="json")
        text = json.dumps(_in_file_order(fields), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        line = text.encode() + b"\n"
    except (ValueError, PydanticSerializationError) as problem:
        raise Unwritable(f"a {record.kind} record cannot be written: {_reason(problem)}") from problem
    if len(line) > MAX_LINE_BYTES:
        raise Unwritable(
            f"a {record.kind} record of {len(line)} bytes is over the limit of {MAX_LINE_BYTES} bytes a line. "
            "Shorten its texts or write large data to a file of its own."
        )
    return line


def moved(raw: bytes, seq: int, prev: str) -> bytes:
    """A line, given without its newline, at another place of another chain; a line of the original format as it is.
    Raises Unwritable when it becomes too long, and ValueError for a line that cannot be read."""
    fields = _fields(raw)
    if "kind" not in fields:
        return raw + b"\n"
    fields.pop("prev", None)
    text = json.dumps({**fields, "seq": seq, "prev": prev}, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    line = text.encode() + b"\n"
    if len(line) - 1 >= MAX_LINE_BYTES:
        raise Unwritable(f"line {fields.get('seq')} is over the limit of {MAX_LINE_BYTES} bytes at its new place")
    return line


def identity(raw: bytes) -> tuple[str, bytes]:
    """What a line is called (its id, or for a line of the original format its content), and what it says: a digest of
    everything but its place in a file. Raises ValueError for a line that cannot be read."""
    fields = _fields(raw)
    said = {name: value for name, value in fields.items() if name not in _OF_A_PLACE}
    digest = hashlib.sha256(to_json(dict(sorted(said.items())))).digest()
    return str(fields.get("id") or f"sha256:{digest.hex()}"), digest


def decode(raw: bytes) -> Record:
    """The record of one line, given without its newline. Raises ValueError with a one-line reason, and nothing else."""
    record = contained(lambda: _decode(raw), passing=(ValueError,))
    if isinstance(record, Escaped):
        raise ValueError(record.text)
    return record


def _decode(raw: bytes) -> Record:
    if len(raw) >= MAX_LINE_BYTES:
        raise ValueError(f"{len(raw) + 1} bytes, over the limit of {MAX_LINE_BYTES}")
    try:
        return parse_record(_fields(raw))
    except ValidationError as problem:
        raise ValueError(_reason(problem)) from None


def numbered(record: Record, number: int) -> Record:
    """The record with the number of the line it stands in: its place in the file decides, not what it says."""
    return record if record.seq == number else record.model_copy(update={"seq": number})


def slim(record: Record) -> Record:
    """The same record in less memory, for a state that holds hundreds of thousands: each model keeps a set with the
    names of the fields that it was given, 2 KiB, of which there are only a few different ones; and the hash of the line
    before it is no use to a reader of states."""
    record.__dict__["prev"] = ""
    _share_names(record)
    for value in record.__dict__.values():
        if isinstance(value, Value):
            _share_names(value)
    return record


def _share_names(model: Value) -> None:
    names = model.__pydantic_fields_set__
    shared = _NAMES.setdefault(frozenset(names), names)
    if shared is not names:
        object.__setattr__(model, "__pydantic_fields_set__", shared)


def line_sha256(raw: bytes) -> str:
    """What the next line's `prev` must be; `raw` has no newline."""
    return hashlib.sha256(raw).hexdigest()


def could_begin_ours(torn: bytes) -> bool:
    """Whether a file that is only this one unterminated line may be a first append that was cut off."""
    opening = b'{"v":'
    return torn.startswith(opening) or opening.startswith(torn)


def _in_file_order(fields: dict[str, Any]) -> dict[str, Any]:
    ordered = {key: fields.pop(key) for key in ("v", "seq", "id", "kind", "at", "agent_id", "study_id")}
    prev = fields.pop("prev")
    return {**ordered, **fields, "prev": prev}


def _fields(raw: bytes) -> dict[str, Any]:
    if raw.startswith(_BYTE_ORDER_MARK):
        raise ValueError("starts with a byte-order mark")
    fields = from_json(raw, allow_inf_nan=False)
    if not isinstance(fields, dict):
        raise ValueError(f"not a JSON object but {type(fields).__name__}")
    missing = [key for key in _EVERY_LINE_HAS if key not in fields]
    if missing:
        raise ValueError(f"not a record: no {', '.join(missing)}")
    if b"Infinity" in to_json(fields, inf_nan_mode="constants") and not _is_finite(fields):
        raise ValueError("a number is too large")
    return fields


def _is_finite(value: object) -> bool:
    """1e999 is legal JSON and reads as infinity, which would poison every mean. A text may say Infinity."""
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(_is_finite, value.values()))
        case list():
            return all(map(_is_finite, value))
        case _:
            return True


def _reason(problem: ValueError) -> str:
    if isinstance(problem, ValidationError):
        first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"{where}: {first['msg']}" if where else first["msg"]
    return str(problem)
