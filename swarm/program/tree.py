"""A program's identity: what it does, not how it is written."""

import ast
import hashlib
import json
from functools import lru_cache
from typing import Any

from swarm.errors import TargetError
from swarm.program import several
from swarm.program.constants import PROGRAMS
from swarm.program.source import parse_module
from swarm.program.toml import read_toml

# Where a name is read or written follows from the node around it; u"" is "".
_MEANINGLESS = frozenset({"ctx", "kind", "type_comment", "type_ignores"})


@lru_cache(maxsize=PROGRAMS)
def tree_sha256(source: str) -> str:
    """SHA-256 of the syntax tree without comments, docstrings, positions and statements that do nothing.

    Spellings of one literal are equal (1e-2 and 0.01), different types are not (1 and 1.0). Renamed variables and
    reordered statements are other programs. Comparable within one version of Python. Raises TargetError if the text is
    not Python. Of several files each counts with its path: a TOML file by its values, others that are not Python by
    their text without blanks at the ends of lines.
    """
    if several.is_several(source):
        whole = "".join(f"{part.path}\0{_of_part(part)}\0" for part in several.parts(source))
        return hashlib.sha256(whole.encode()).hexdigest()
    return _of_text(source)


def _of_part(part: several.Part) -> str:
    if part.is_python:
        return _of_text(part.text)
    if part.is_toml:
        return json.dumps(read_toml(part.path, part.text), sort_keys=True, default=str)
    return "\n".join(line.rstrip() for line in part.text.rstrip().split("\n"))


def _of_text(source: str) -> str:
    try:
        return hashlib.sha256(_canonical(parse_module(source)).encode()).hexdigest()
    except RecursionError as error:
        raise TargetError("the program's expressions are nested too deeply to be compared: split them up") from error


def _canonical(value: Any) -> str:
    if isinstance(value, ast.AST):
        fields = ((name, child) for name, child in ast.iter_fields(value) if name not in _MEANINGLESS)
        # Empty fields are left out, so that a field which a later Python adds changes nothing.
        inner = ",".join(f"{name}={_canonical(child)}" for name, child in fields if child is not None and child != [])
        return f"{type(value).__name__}({inner})"
    if isinstance(value, list):
        return f"[{','.join(_canonical(child) for child in value if not _does_nothing(child))}]"
    return f"{type(value).__name__}:{value!r}"


def _does_nothing(node: Any) -> bool:
    """A docstring, another bare literal, or `pass`."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
