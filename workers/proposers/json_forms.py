"""Edits that a model wrote as JSON, whatever it named the parts, and texts and settings inside of JSON. Pure."""

import ast
import json
import re
from collections.abc import Collection, Iterator
from typing import cast

from swarm.records import Scalar
from workers.proposers.edits import Edit
from workers.proposers.foreign_json import read_foreign_json, require_shallow
from workers.proposers.labelled import fenced_blocks

MAX_PYTHON = 4_000
MAX_BRACES = 200
HEADER = ("hypothesis", "family", "operator", "cites", "expects", "vram_mib")

_OF = r"(?:str|string|text|code|lines?|block|content)?"
_OLD = re.compile(rf"(?:search|find|original|before|old|from){_OF}")
_NEW = re.compile(rf"(?:replace|replacement|replacewith|updated|after|new|to){_OF}")


def json_objects(answer: str) -> Iterator[dict[str, object]]:
    """JSON objects in the answer: in fences, else anywhere; a comma too many is forgiven."""
    texts = [one.text for one in fenced_blocks(answer) if one.language in ("", "json")]
    texts.append(answer)
    for text in texts:
        item = _load(text)
        if isinstance(item, dict):
            yield item
        elif isinstance(item, list):
            yield from (one for one in item if isinstance(one, dict))
    yield from _embedded(answer)


def json_edits(answer: str) -> list[Edit]:
    """The edits in all objects, at whatever depth, each once, with the paths that they name."""
    return list(dict.fromkeys(edit for item in json_objects(answer) for edit in _edits_in(item)))


def json_texts(answer: str) -> list[str]:
    """Texts of several lines in the objects, the longest first: an answer within the answer, or the file."""
    texts = {text for item in json_objects(answer) for text in _leaves(item) if "\n" in text.strip()}
    return sorted(texts, key=len, reverse=True)


def json_settings(answer: str, constants: Collection[str]) -> dict[str, Scalar]:
    """The new values of the first object that names constants of the program and, but for the header, nothing else."""
    for item in json_objects(answer):
        for inner in _objects(item):
            values = {name: value for name, value in inner.items() if name not in HEADER}
            scalars = all(isinstance(value, bool | int | float | str) for value in values.values())
            if values and scalars and values.keys() <= set(constants):
                return cast(dict[str, Scalar], values)
    return {}


def _edits_in(item: dict[str, object]) -> list[Edit]:
    return [edit for inner in _objects(item) if (edit := _edit(inner)) is not None]


def _edit(item: dict[str, object]) -> Edit | None:
    """Of an object with one name for what to look for and one for what to put there."""
    names = {name: re.sub(r"[^a-z]", "", name.lower()) for name in item}
    old = [name for name in names if _OLD.fullmatch(names[name])]
    new = [name for name in names if _NEW.fullmatch(names[name])]
    if len(old) != 1 or len(new) != 1 or not all(isinstance(item[name], str | list) for name in (*old, *new)):
        return None
    paths = [str(item[name]) for name in names if names[name] in ("path", "file", "filename", "filepath")]
    return Edit(_text_of(item[old[0]]), _text_of(item[new[0]]), next(iter(paths), ""))


def _text_of(value: object) -> str:
    """A text, or a list of its lines."""
    lines = value if isinstance(value, list) else [value]
    return "\n".join(str(line) for line in lines).replace("\r\n", "\n").rstrip("\n")


def _objects(value: object) -> Iterator[dict[str, object]]:
    """The objects in a value, the outer ones first; also of JSON that stands in a text, as arguments of a tool do."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        value = _load(value)
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _objects(inner)


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from _leaves(one)


def _embedded(answer: str) -> Iterator[dict[str, object]]:
    decoder = json.JSONDecoder(strict=False)  # line feeds within a text, as they are
    at, tries = answer.find("{"), 0
    while at >= 0 and tries < MAX_BRACES:
        tries += 1
        try:
            item, end = decoder.raw_decode(answer, at)
            require_shallow(item)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if isinstance(item, dict):
                yield item
        at = answer.find("{", end)


def _load(text: str) -> object:
    for candidate in (text, re.sub(r",(\s*[}\]])", r"\1", text)):
        try:
            return read_foreign_json(candidate)
        except ValueError:
            continue
    return _python_value(text)


def _python_value(text: str) -> object:
    """An object as Python writes it; only short ones, since a deep one may exhaust the parser."""
    if len(text) > MAX_PYTHON or not text.lstrip().startswith("{"):
        return None
    try:
        value: object = ast.literal_eval(text.strip())
        require_shallow(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
    return value
