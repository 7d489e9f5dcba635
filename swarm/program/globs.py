"""Which files of a target's folder may change. In a glob `*` and `?` stay inside one folder, and `**/` goes through any
number of them."""

import re
from collections.abc import Sequence
from functools import lru_cache

from swarm.records import TargetTerms

RESERVED = ("target.toml", "outputs")  # never editable, whatever the globs say


def may_change(path: str, terms: TargetTerms) -> bool:
    """Whether a file, by its path in the target's folder and with slashes, is one that a program consists of."""
    pieces = path.split("/")
    if pieces[0] in RESERVED or any(piece.startswith(".") for piece in pieces):
        return False
    if any(path == folder or path.startswith(f"{folder}/") for folder in terms.closed):
        return False
    return matches(path, terms.editable)


def matches(path: str, globs: Sequence[str]) -> bool:
    """Whether one of the globs names the file, whatever may be edited."""
    return any(_pattern(glob).fullmatch(path) for glob in globs)


def is_single(terms: TargetTerms) -> bool:
    """Whether a program is one Python file, and so its own text."""
    globs = terms.editable
    return len(globs) == 0 or (len(globs) == 1 and is_literal(globs[0]) and globs[0].endswith(".py"))


def is_literal(glob: str) -> bool:
    return not any(char in glob for char in "*?[")


@lru_cache(maxsize=256)
def _pattern(glob: str) -> re.Pattern[str]:
    text, at = "", 0
    while at < len(glob):
        if glob.startswith("**/", at):
            text, at = text + "(?:[^/]+/)*", at + 3
            continue
        char = glob[at]
        text += {"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char))
        at += 1
    return re.compile(text)
