"""What changed under an edit: does it still mean, in another program, what it meant where it was made?

A three-way merge moves an edit from one program to another as long as no line is touched twice. The text fits, and the
meaning may not: the function around the edited line is another one now, or a constant that the new line reads has
another value. Pure: texts in, names out.
"""

import ast
import copy
import difflib
import keyword
import re

from swarm.errors import TargetError
from swarm.program.source import parse_module

IMPORTS = "imports"
REST = "module"


def parts(source: str) -> dict[str, str]:
    """The text of each named part of a program, without its layout: constants and functions by their names, methods as
    `Class.method`, what else stands in a class by the class's name, `imports`, and the rest as `module`.

    Raises TargetError when it is not Python.
    """
    found: dict[str, list[str]] = {}
    for node in parse_module(source).body:
        for name, part in _named(node):
            found.setdefault(name, []).append(ast.unparse(part))
    return {name: "\n".join(texts) for name, texts in found.items()}


def changed_parts(before: str, after: str) -> frozenset[str]:
    """Names of the parts that differ, those that came or went among them. Raises TargetError."""
    old, new = parts(before), parts(after)
    return frozenset(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def changed_under(base: str, edited: str, now: str) -> tuple[str, ...]:
    """What of `now` differs from `base` in the places where `edited` changes it or that its new lines name.

    Sorted. Empty when the edit means in `now` what it meant in `base`, as far as names tell, and for texts that are not
    Python. A part that the edit and `now` have changed alike counts: of the edit, nothing is left there.
    """
    try:
        moved = changed_parts(base, now) - {IMPORTS}
        edits = changed_parts(base, edited) - {IMPORTS}
    except TargetError:
        return ()
    read = _names(_added(base, edited))
    return tuple(sorted(name for name in moved if name in edits or name.rpartition(".")[2] in read))


def _named(node: ast.stmt) -> list[tuple[str, ast.stmt]]:
    match node:
        case ast.Import() | ast.ImportFrom():
            return [(IMPORTS, node)]
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return [(node.name, node)]
        case ast.ClassDef():
            methods = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
            rest = [one for one in node.body if one not in methods]
            shell = copy.copy(node)
            shell.body = rest or [ast.Pass()]
            return [(node.name, shell), *((f"{node.name}.{m.name}", m) for m in methods)]
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return [(name, node)]
    return [(REST, node)]


def _added(before: str, after: str) -> str:
    """The lines of `after` that `before` does not have."""
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return "\n".join(line[2:].strip() for line in lines if line.startswith("+ "))


def _names(text: str) -> frozenset[str]:
    """Identifiers in some lines, which need not be a program of their own; words in comments and texts count too."""
    return frozenset(re.findall(r"[^\W\d]\w*", text)) - set(keyword.kwlist)
