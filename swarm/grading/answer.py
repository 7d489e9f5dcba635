"""What a grader says, and what a program prints of itself, read as strictly as anything from outside."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swarm.grading.arrays import NotInert, floats
from swarm.trial.files import MAX_NUMBER, Unreadable, read_plain

MAX_METRICS = 64
MAX_ITEM_BYTES = 32 << 20
MAX_FLAGS = 8
_FLAG = re.compile(r"[a-z][a-z0-9_]{0,39}")
_PRINTED = re.compile(r"METRIC\s+(?P<name>[A-Za-z_][\w.]*)\s*=\s*(?P<value>[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*")


class NoScore(ValueError):
    """There is no number. The message says why."""


@dataclass(frozen=True)
class Answer:
    """`flags`: what the grader found odd and did not refuse; they stand in the trial's record."""

    metrics: dict[str, float]
    items: tuple[float, ...] = ()
    flags: tuple[str, ...] = ()


def read_answer(text: str, folder: Path, wanted: Sequence[str]) -> Answer:
    """The one JSON object that a grader prints. `per_item` names a file below `folder`, `flags` lists words such as
    "speaks_to_the_grader". Raises NoScore."""
    try:
        fields = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise NoScore(f"the grader printed no JSON object: {str(error)[:120]}") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("metrics"), dict):
        raise NoScore('the grader printed no JSON object with "metrics"')
    if not isinstance(fields.get("valid"), bool):
        raise NoScore('the grader did not say whether the outputs are valid: "valid" must be true or false')
    if not fields["valid"]:
        raise NoScore(f"the grader says that the outputs are not valid: {str(fields.get('why', ''))[:400]}")
    metrics = _numbers(fields["metrics"])
    if missing := [name for name in wanted if name not in metrics]:
        raise NoScore(f"the grader gave no {missing[0]}; it gave {', '.join(metrics) or 'nothing'}")
    per_item = fields.get("per_item")
    items = _items(folder, per_item) if per_item is not None else ()
    return Answer(metrics, items, _flags(fields.get("flags", [])))


def read_printed(log: str, wanted: Sequence[str]) -> Answer:
    """The last METRIC line of each name, else the last `name: value` or `name=value`. Raises NoScore."""
    found: dict[str, float] = {}
    for line in log.splitlines():
        if match := _PRINTED.fullmatch(line.strip()):
            found[match["name"]] = _finite(match["name"], match["value"])
    for name in wanted:
        if name not in found and (said := re.findall(rf"\b{re.escape(name)}\b\s*[:=]\s*([-+0-9.eE]+)", log)):
            found[name] = _finite(name, said[-1])
    if missing := [name for name in wanted if name not in found]:
        raise NoScore(f"the command printed no number {missing[0]!r}: a line such as METRIC {missing[0]}=0.5")
    return Answer(_numbers(found))


def _numbers(values: dict[str, object] | dict[str, float]) -> dict[str, float]:
    if len(values) > MAX_METRICS:
        raise NoScore(f"{len(values)} metrics; at most {MAX_METRICS} are taken")
    return {str(name)[:40]: _finite(str(name), value) for name, value in values.items()}


def _finite(name: str, value: object) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else math.nan  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not -MAX_NUMBER < number < MAX_NUMBER:
        raise NoScore(f"{name[:40]} is {str(value)[:40]}, which is no number to count with")
    return number


def _items(folder: Path, name: object) -> tuple[float, ...]:
    """One number an item, in the order of the data."""
    if not isinstance(name, str) or "/" in name or name.startswith("."):
        raise NoScore(f"per_item is {str(name)[:60]!r}: the name of a file in the grader's folder is wanted")
    try:
        content = read_plain(folder / name, MAX_ITEM_BYTES)
        values = floats(content) if name.endswith(".npy") else json.loads(content)
    except (Unreadable, NotInert, ValueError, RecursionError) as error:
        raise NoScore(f"per_item {name}: {error}") from error
    if not isinstance(values, list) or len(values) < 2:
        raise NoScore(f"per_item {name} holds no list of two or more numbers")
    return tuple(_finite(f"{name}[{number}]", value) for number, value in enumerate(values))


def _flags(words: object) -> tuple[str, ...]:
    if not isinstance(words, list) or len(words) > MAX_FLAGS:
        raise NoScore(f"flags is {str(words)[:60]!r}: a list of at most {MAX_FLAGS} words is wanted")
    if odd := [word for word in words if not isinstance(word, str) or not _FLAG.fullmatch(word)]:
        raise NoScore(f"flags has {str(odd[0])[:60]!r}: a word of lower-case letters, digits and _ is wanted")
    return tuple(dict.fromkeys(words))


def _refuse(text: str) -> object:
    raise ValueError(f"{text} is no number of JSON")
