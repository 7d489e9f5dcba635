"""A record that is too long for a line of the brain, made shorter.

What may become long is what others say: texts, citations, curves, flags. A trial must not go without its record for it,
nor a record without its ids; so the longest texts and lists lose their ends first, and say so.
"""

import json
from collections.abc import Iterator
from typing import Any, TypeVar

from swarm.records.envelope import Record
from swarm.records.text import one_line
from swarm.records.values import MAX_LINE_BYTES

# Characters of a text and entries of a list, from generous to what every record fits with; no id is longer than that.
_LIMITS = ((2000, 200), (1000, 64), (300, 16), (120, 8), (64, 4))

_AnyRecord = TypeVar("_AnyRecord", bound=Record)


def fitted(record: _AnyRecord) -> _AnyRecord:
    """The record as it is if its line can be written, else with its longest texts and lists cut.

    A record that does not fit even then, or that holds what cannot be written at all, is given back as it is.
    """
    try:
        fields = record.model_dump(mode="json")
        if _bytes(fields) <= MAX_LINE_BYTES:
            return record
        shorter = next(short for short in _ever_shorter(fields) if _bytes(short) <= MAX_LINE_BYTES)
        return type(record).model_validate(shorter)
    except (ValueError, RecursionError, StopIteration):  # whoever encodes it will say what is wrong
        return record


def _ever_shorter(fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for texts, entries in _LIMITS:
        yield {key: _cut(value, texts, entries) for key, value in fields.items()}


def _cut(value: Any, texts: int, entries: int) -> Any:
    match value:
        case str():
            return value if len(value) <= texts else f"{value[: texts - 1]}…"
        case list():
            return [_cut(item, texts, entries) for item in value[:entries]]
        case dict():
            kept = list(value.items())[:entries] if len(value) > 32 else value.items()
            return {one_line(str(key), texts): _cut(item, texts, entries) for key, item in kept}
    return value


def _bytes(fields: dict[str, Any]) -> int:
    return len(json.dumps(fields, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()) + 1
