"""Reads and sets the constants that a program declares at its top.

    MAX_LR = 1e-2        # search: log(1e-4, 1e-1)
    DROPOUT = 0.0        # search: linear(0, 0.3)
    STAGES = 3           # search: int(2, 4)
    ACTIVATION = "relu"  # search: {"relu", "gelu", "silu"}
    CLASSES = 100

A constant is a module-level `NAME = literal` with a name in capitals and a number, boolean or string as its value, all
of them short. Its search space, if it has one, is the trailing comment. A name that the module body assigns twice is no
constant: setting one of the two would not say what the program does. Nothing is executed: positions come from `ast`,
edits are textual, and every byte outside the replaced literal stays as it is. Settings at the head of a program's TOML
file are constants too (`swarm.program.toml`).
"""

import ast
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TypeGuard

from swarm.errors import TargetError
from swarm.program.source import parse_module
from swarm.records import Scalar

PROGRAMS = 256  # kept of the latest: a study asks the same few over and over
MAX_NAME, MAX_TEXT = 60, 200  # characters of a constant's name and text: a setting is short, and stands in records
MAX_WHOLE = 2**63


@dataclass(frozen=True, slots=True)
class Log:
    """Numbers from `low` to `high`, both included, searched by their logarithm."""

    low: float
    high: float

    def contains(self, value: Scalar) -> bool:
        return _is_number(value) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Linear:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float

    def contains(self, value: Scalar) -> bool:
        return _is_number(value) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Int:
    """Whole numbers from `low` to `high`, both included."""

    low: int
    high: int

    def contains(self, value: Scalar) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the listed values, in the order of the comment."""

    values: tuple[Scalar, ...]

    def contains(self, value: Scalar) -> bool:
        return any(same_value(value, listed) for listed in self.values)


Space = Log | Linear | Int | Choice


@dataclass(frozen=True, slots=True)
class Constant:
    name: str
    value: Scalar
    space: Space | None
    line: int


def parse(source: str) -> dict[str, Constant]:
    """The constants of a program by name, in the order of the text.

    Raises TargetError if the text is not Python or a search comment cannot be read.
    """
    return {constant.name: constant for constant in _constants(source)}


def assign(source: str, values: Mapping[str, Scalar]) -> str:
    """The program with the named constants set; comments, layout and all other lines stay byte for byte.

    Search spaces are not enforced: they guide a search, they are no law. Raises TargetError for an unknown name and for
    a number that has no literal (NaN, infinity).
    """
    literals = {found.name: found for found in _literals(source)}
    unknown = sorted(values.keys() - literals.keys())
    if unknown:
        declared = ", ".join(literals) or "none"
        raise TargetError(f"the program declares no constant {', '.join(unknown)}; it declares: {declared}")
    lines = _byte_lines(source)
    # From the end of the text, so that earlier positions stay valid.
    for name in sorted(values, key=lambda name: literals[name].position, reverse=True):
        _replace(lines, literals[name], values[name])
    return b"".join(lines).decode()


def changed(parent: str, child: str) -> dict[str, tuple[Scalar | None, Scalar | None]]:
    """Constants whose literal differs, as (old, new); None where one of the two does not declare it.

    1e-2 equals 0.01, but 1 is not 1.0 and not True: a program may tell these apart.
    """
    old = {found.name: found.value for found in _literals(parent)}
    new = {found.name: found.value for found in _literals(child)}
    return {
        name: (old.get(name), new.get(name))
        for name in [*old, *(name for name in new if name not in old)]
        if name not in old or name not in new or not _identical(old[name], new[name])
    }


def same_value(a: Scalar, b: Scalar) -> bool:
    """Equal as a setting: 1 and 1.0 are one number, True is no number."""
    return isinstance(a, bool) == isinstance(b, bool) and a == b


@dataclass(frozen=True, slots=True)
class _Literal:
    name: str
    value: Scalar
    node: ast.expr

    @property
    def position(self) -> tuple[int, int]:
        return self.node.lineno, self.node.col_offset


_NAME = re.compile(rf"[A-Z][A-Z0-9_]{{0,{MAX_NAME - 1}}}")


@lru_cache(maxsize=PROGRAMS)
def _constants(source: str) -> tuple[Constant, ...]:
    literals = _literals(source)
    lines = _byte_lines(source)
    return tuple(Constant(found.name, found.value, _space(found, lines), found.node.lineno) for found in literals)


@lru_cache(maxsize=PROGRAMS)
def _literals(source: str) -> tuple[_Literal, ...]:
    tree = parse_module(source)
    assigned = Counter(name for statement in tree.body for name in _assigned_names(statement))
    found = []
    for statement in tree.body:
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        names = _assigned_names(statement)
        value = _scalar(statement.value)
        if value is None or len(names) != 1 or assigned[names[0]] != 1 or not _NAME.fullmatch(names[0]):
            continue
        found.append(_Literal(names[0], value, statement.value))
    return tuple(found)


def _assigned_names(statement: ast.stmt) -> list[str]:
    """Names that the statement binds in the module's scope, also below an `if` or a loop."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return []
    return [node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def _scalar(node: ast.expr) -> Scalar | None:
    match node:
        case ast.Constant(value=bool() as value):
            return value
        case ast.Constant(value=str() as value):
            return value if len(value) <= MAX_TEXT else None
        case ast.Constant(value=int() | float() as value):
            return value if _is_setting(value) else None
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value if _is_setting(value) else None
    return None


def _is_setting(value: int | float) -> bool:
    """No infinity (1e999), and no whole number that a record, a float or a search could not hold."""
    return _is_number(value) and (isinstance(value, float) or value < MAX_WHOLE)


_SEARCH = re.compile(r"[\s)]*#\s*search\s*:(.*)")


def _space(found: _Literal, lines: list[bytes]) -> Space | None:
    """The space in the comment behind the value; an opening bracket may still have to close before it."""
    line = found.node.end_lineno or found.node.lineno
    rest = lines[line - 1][found.node.end_col_offset :].decode().rstrip("\r\n")
    comment = _SEARCH.fullmatch(rest)
    if comment is None:
        return None
    space = _read_space(comment[1].strip())
    if space is None:
        raise TargetError(
            f"line {line}: the search comment of {found.name} is {comment[1].strip()!r}; write log(low, high), "
            "linear(low, high), int(low, high) or {a, b, ...} with literal values and low < high"
        )
    return space


def _read_space(text: str) -> Space | None:
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    match node:
        case ast.Call(func=ast.Name(id=kind), args=[low_node, high_node], keywords=[]):
            low, high = _scalar(low_node), _scalar(high_node)
            return _interval(kind, low, high)
        case ast.Set(elts=elements):
            values = [_scalar(element) for element in elements]
            listed = tuple(value for value in values if value is not None)
            return Choice(listed) if len(listed) == len(values) else None
    return None


def _interval(kind: str, low: Scalar | None, high: Scalar | None) -> Space | None:
    if low is None or high is None or not _is_number(low) or not _is_number(high) or low >= high:
        return None
    if kind == "log" and low > 0:
        return Log(low, high)
    if kind == "linear":
        return Linear(low, high)
    if kind == "int" and isinstance(low, int) and isinstance(high, int):
        return Int(low, high)
    return None


def _is_number(value: Scalar) -> TypeGuard[int | float]:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _identical(a: Scalar, b: Scalar) -> bool:
    return type(a) is type(b) and a == b


def _byte_lines(source: str) -> list[bytes]:
    """Lines as `ast` counts them: its columns are UTF-8 bytes and its line ends are LF, CR and CRLF only."""
    return source.encode().splitlines(keepends=True)


def _replace(lines: list[bytes], found: _Literal, value: Scalar) -> None:
    node = found.node
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
    old = lines[first][node.col_offset : node.end_col_offset]
    literal = _literal(value, scientific=isinstance(found.value, float) and b"e" in old.lower())
    # A literal over several lines becomes one line: the lines in between are emptied, so that indices stay valid.
    lines[first : last + 1] = [before + literal.encode() + after, *[b""] * (last - first)]


def _literal(value: Scalar, *, scientific: bool) -> str:
    if isinstance(value, str):
        text = repr(value)
        return f'"{text[1:-1]}"' if text.startswith("'") and '"' not in text else text
    if isinstance(value, bool | int):
        return repr(value)
    if not math.isfinite(value):
        raise TargetError(f"{value} has no literal in Python: a constant must be a finite number")
    return _float_literal(value, scientific=scientific)


def _float_literal(value: float, *, scientific: bool) -> str:
    """The shortest exact text: 3e-4 and not 0.00029999999999999997 or 3e-04; in the style that stood there before."""
    if value == 0 or (not scientific and 1e-3 <= abs(value) < 1e6):
        return repr(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    mantissa = f"{digits[0]}.{''.join(map(str, digits[1:]))}".rstrip(".")
    return f"{'-' if sign else ''}{mantissa}e{int(exponent) + len(digits) - 1}"
