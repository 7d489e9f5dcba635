"""A text as its reader reads it in the end: escapes undone, layer by layer, each character with its first place.

Undone are the escapes of Python and JSON, of URLs and of HTML, the seams of a string that is written in pieces, and
line breaks, also those of a comment; left out are the characters that a record leaves out. For looking only: what all
of these make of a text is no longer right.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_LAYERS = 8  # a text in a string in a string ...

_UNDONE = re.compile(
    r"""
      \\x(?P<x>[0-9a-f]{2}) | (?-i:\\u)(?P<u>[0-9a-f]{4}) | (?-i:\\U)(?P<long>[0-9a-f]{8})
    | \\u\{(?P<braced>[0-9a-f]{1,6})\}
    | \\(?P<octal>[0-7]{1,3}) | \\(?P<itself>[^\w\s]) | \\\r?\n
    | &\#x(?P<html_x>[0-9a-f]{1,6});? | &\#(?P<html>[0-9]{1,7});? | %(?P<url>[0-9a-f]{2})
    | ["'][\s+\\]{0,200}[rbuf]{0,2}["']
    | \\(?P<line>[rn]) | [ \t]{0,40}\r?\n[ \t\#]*
    | [\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]+
    | [\U000e0000-\U000e0fff]+
    """,
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Layer:
    """Character i was made of the characters from `starts[i]` up to `ends[i]` of the text as it was given."""

    text: str
    starts: list[int]
    ends: list[int]


def layers(text: str) -> Iterator[Layer]:
    """The text as it is, and with one layer of escapes after the other undone, until none is left."""
    layer = Layer(text, list(range(len(text))), list(range(1, len(text) + 1)))
    for _ in range(MAX_LAYERS):
        yield layer
        below = _undone(layer)
        if below.text == layer.text:
            return
        layer = below
    yield layer


def readings(text: str) -> Iterator[str]:
    """The texts of its layers alone, several times faster."""
    for _ in range(MAX_LAYERS):
        yield text
        below = _UNDONE.sub(_meant, text)
        if below == text:
            return
        text = below
    yield text


def _undone(layer: Layer) -> Layer:
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for match in _UNDONE.finditer(layer.text):
        kept = slice(at, match.start())
        parts.append(layer.text[kept])
        starts += layer.starts[kept]
        ends += layer.ends[kept]
        at = match.end()
        if char := _meant(match):
            parts.append(char)
            starts.append(layer.starts[match.start()])
            ends.append(layer.ends[at - 1])
    return Layer("".join([*parts, layer.text[at:]]), starts + layer.starts[at:], ends + layer.ends[at:])


def _meant(match: re.Match[str]) -> str:
    """The character that an escape stands for; none for what is left out."""
    kind = match.lastgroup
    if kind is None:
        return ""
    said = match[kind]
    if kind == "itself":
        return said
    if kind == "line":
        return "\n"
    code = int(said, {"octal": 8, "html": 10}.get(kind, 16))
    return chr(code) if code <= 0x10FFFF else ""
