"""A program under edit: found by its syntax tree, changed in its text, so that comments and layout stay.

Every look-up raises DoesNotApply when the program has no such place: an edit's look-ups are its precondition.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TypeVar

from swarm.errors import TargetError
from swarm.program import constants
from swarm.program.constants import Constant
from swarm.program.source import parse_module
from swarm.records import Scalar


class DoesNotApply(Exception):
    """The program lacks what the edit needs, or has what it would add."""


_Node = TypeVar("_Node", bound=ast.AST)


class Program:
    """Collects replacements by position; `result` makes the new text. Positions are those of the original."""

    def __init__(self, source: str) -> None:
        """Raises DoesNotApply when the text is not Python."""
        self.tree, self.constants = _parsed(source)
        self.source = source
        self._bytes = source.encode()
        self._starts = _line_starts(self._bytes)
        self._splices: list[tuple[int, int, bytes]] = []
        self._values: dict[str, Scalar] = {}

    def result(self) -> str:
        """Raises DoesNotApply when nothing changed, the edits overlap, or they break the syntax."""
        text, edge = self._bytes, len(self._bytes) + 1
        # From the end, so that earlier positions stay valid; at one position in the order of the calls.
        latest_first = self._splices[::-1]
        for start, end, new in sorted(latest_first, key=_start, reverse=True):
            if end > edge:
                raise DoesNotApply("the edit touches one place twice")
            text, edge = text[:start] + new + text[end:], start
        edited = text.decode()
        try:
            ast.parse(edited)
            edited = constants.assign(edited, self._values) if self._values else edited
        except SyntaxError as error:
            raise DoesNotApply(f"the edit would break line {error.lineno}: {error.msg}") from error
        if edited == self.source:
            raise DoesNotApply("the program is like that already")
        return edited

    def require(self, condition: object, otherwise: str) -> None:
        if not condition:
            raise DoesNotApply(otherwise)

    def refuse_if_named(self, *names: str) -> None:
        """Raises DoesNotApply when the program mentions one of the names already."""
        for node in ast.walk(self.tree):
            mentioned = {getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "name", None)}
            if found := mentioned.intersection(names):
                raise DoesNotApply(f"the program has {found.pop()} already")

    def function(self, name: str, within: ast.ClassDef | None = None) -> ast.FunctionDef:
        body = within.body if within is not None else self.tree.body
        return self._one((n for n in body if isinstance(n, ast.FunctionDef) and n.name == name), f"function {name}")

    def class_of(self, *names: str) -> ast.ClassDef:
        """The class with one of the names."""
        found = (n for n in self.tree.body if isinstance(n, ast.ClassDef) and n.name in names)
        return self._one(found, f"class {' or '.join(names)}")

    def call(self, function: str, within: ast.AST | None = None) -> ast.Call:
        """The only call of a dotted name, such as `augment.flip`."""
        return self._one(self.calls(function, within), f"call of {function}")

    def calls(self, function: str, within: ast.AST | None = None) -> Iterator[ast.Call]:
        nodes = ast.walk(within if within is not None else self.tree)
        return (n for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func) == function)

    def statement(self, text: str, within: ast.AST) -> ast.stmt:
        """The only statement whose normalised text starts with `text`, such as `optimizer.step()`."""
        nodes = ast.walk(within)
        return self._one((n for n in nodes if isinstance(n, ast.stmt) and ast.unparse(n).startswith(text)), text)

    def last_return(self, function: ast.FunctionDef) -> ast.Return:
        last = function.body[-1]
        if not isinstance(last, ast.Return) or last.value is None:
            raise DoesNotApply(f"{function.name} does not end with a return")
        return last

    def value(self, name: str) -> Scalar:
        """The value of a declared constant."""
        if name not in self.constants:
            raise DoesNotApply(f"the program declares no {name}")
        return self.constants[name].value

    def text(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self._bytes[start:end].decode()

    def replace(self, node: ast.AST, text: str) -> None:
        self._splices.append((*self._span(node), text.encode()))

    def insert_before(self, statement: ast.stmt, text: str) -> None:
        """Lines before a statement, at its indentation; an own comment above it stays with it."""
        start = self._starts[statement.lineno - 1]
        self._splices.append((start, start, _indented(text, statement.col_offset)))

    def insert_after(self, statement: ast.stmt, text: str) -> None:
        end = self._line_end(statement)
        self._splices.append((end, end, _indented(text, statement.col_offset)))

    def replace_lines(self, first: ast.stmt, last: ast.stmt, text: str) -> None:
        """Whole lines, from those of `first` to those of `last`."""
        start = self._starts[first.lineno - 1]
        self._splices.append((start, self._line_end(last), _indented(text, first.col_offset)))

    def set(self, **values: Scalar) -> None:
        """Give declared constants new values."""
        for name in values:
            self.value(name)
        self._values.update(values)

    def declare(self, name: str, literal: str, space: str, *, beside: str) -> None:
        """Declare a new constant behind the one called `beside`, or behind the last that can be searched."""
        self.require(name not in self.constants, f"the program declares {name} already")
        searchable = [constant for constant in self.constants.values() if constant.space is not None]
        self.require(searchable, "the program declares no constants")
        anchor = self.constants.get(beside, searchable[-1])
        end = self._starts[anchor.line]
        self._splices.append((end, end, f"{name} = {literal}  # search: {space}\n".encode()))

    def redeclare(self, name: str, line: str) -> None:
        """Replace the line that declares a constant; an empty text removes it."""
        self.value(name)
        number = self.constants[name].line
        self._splices.append((self._starts[number - 1], self._starts[number], line.encode()))

    def import_(self, statement: str) -> None:
        """Add an import unless it is there: `import x` above all imports, `from x import y` below `from torch`."""
        if any(ast.unparse(node) == statement for node in self.tree.body):
            return
        imports = [n for n in self.tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
        self.require(imports, "the program imports nothing")
        if statement.startswith("import "):
            start = self._starts[imports[0].lineno - 1]
            gap = "" if ast.unparse(imports[0]).startswith("import math") else "\n"
            self._splices.append((start, start, f"{statement}\n{gap}".encode()))
            return
        ours = [n for n in imports if ast.unparse(n).startswith("from torch")]
        self.insert_after((ours or imports)[-1], statement + "\n")

    def _one(self, found: Iterator[_Node], what: str) -> _Node:
        nodes = list(found)
        if len(nodes) != 1:
            raise DoesNotApply(f"{len(nodes)} places for {what}")
        return nodes[0]

    def _span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset

    def _line_end(self, statement: ast.stmt) -> int:
        assert statement.end_lineno is not None
        return self._starts[statement.end_lineno]


@lru_cache(maxsize=4)
def _parsed(source: str) -> tuple[ast.Module, Mapping[str, Constant]]:
    """Many edits are tried on one program; nobody changes its tree."""
    try:
        return parse_module(source), constants.parse(source)
    except TargetError as error:
        raise DoesNotApply(str(error)) from error


def _line_starts(content: bytes) -> list[int]:
    starts = [0]
    for line in content.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def _indented(text: str, columns: int) -> bytes:
    lines = text.splitlines(keepends=True)
    return "".join(" " * columns + line if line.strip() else line for line in lines).encode()


def _start(splice: tuple[int, int, bytes]) -> int:
    return splice[0]
