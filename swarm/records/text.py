"""Text from outside, made safe to print when a record is made or read, and so once for all who print it.

A description, a file name or a line of output comes from a model or a program. Printed as it is, it could move the
cursor, recolour a terminal, or show itself in another order than it is read. Every text of a record is a `Line` or a
`Block`: neither holds control characters (C0 with ESC, C1), format characters (direction, zero width) or half a
surrogate pair. What the words say is not judged here, and quoting for HTML or Markdown is the renderer's.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator

_DROPPED = frozenset({"Cc", "Cf", "Cs"})
_LINE_END = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SPACES = re.compile(r"\s+")
MAX_DEPTH = 40  # of values in each other, in a record of a kind that is not known


def one_line(text: str, limit: int | None = None) -> str:
    """The text in one line without what cannot be printed, cut with an ellipsis where it is longer than `limit`."""
    if limit is not None:
        text = text[: 4 * limit + 200]
    if not text.isprintable():
        text = _kept(_SPACES.sub(" ", text), "").strip()
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"


def block(text: str) -> str:
    """The text with its lines and tabs."""
    return text if text.isprintable() else _kept(_LINE_END.sub("\n", text), "\n\t")


def safe_to_print(value: object, depth: int = MAX_DEPTH) -> object:
    """The same value with each text in it, names of fields included, as a block. Raises ValueError where values are
    nested more than `depth` deep."""
    if depth < 0:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    match value:
        case str():
            return block(value)
        case Mapping():
            return {block(str(key)): safe_to_print(item, depth - 1) for key, item in value.items()}
        case list() | tuple():
            return [safe_to_print(item, depth - 1) for item in value]
    return value


def _kept(text: str, allowed: str) -> str:
    return "".join(char for char in text if char in allowed or unicodedata.category(char) not in _DROPPED)


def _line_of(value: object) -> object:
    return one_line(value) if isinstance(value, str) else value


def _block_of(value: object) -> object:
    return block(value) if isinstance(value, str) else value


Line: TypeAlias = Annotated[str, BeforeValidator(_line_of)]
Block: TypeAlias = Annotated[str, BeforeValidator(_block_of)]
