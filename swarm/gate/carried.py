"""What a program carries in its own text: models learn, they do not bring the answers.

Public-domain text is known by heart to the models that propose programs, and a table of its words in the source would
score without any training. So what stands in quotes, in long numbers and in long lists is bounded. Comments reach no
running program; docstrings do where `__doc__` is read.
"""

import ast
from collections.abc import Iterator

MAX_CARRIED = 2048  # characters, bytes of large numbers, and items of long lists together; the programs here have 80
LONG_LIST, LARGE_NUMBER_BITS = 64, 64


def carried_problems(tree: ast.Module) -> Iterator[tuple[int, str]]:
    docstrings = set() if _reads_docstrings(tree) else {id(node) for node in _docstrings(tree)}
    found = [(node, _size(node)) for node in ast.walk(tree) if id(node) not in docstrings]
    total = sum(size for _, size in found)
    if total > MAX_CARRIED:
        largest = max(found, key=lambda item: item[1])[0]
        yield (
            getattr(largest, "lineno", 0),
            f"the program carries {total} characters of text, numbers and lists, {MAX_CARRIED} are allowed: a program "
            "learns what it knows, compute tables or leave them out",
        )


def _size(node: ast.AST) -> int:
    match node:
        case ast.Constant(value=str() | bytes() as text):
            return len(text)
        case ast.Constant(value=int() as number) if number.bit_length() > LARGE_NUMBER_BITS:
            return number.bit_length() // 8
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items) if len(items) > LONG_LIST:
            return len(items)
        case ast.Dict(keys=keys) if len(keys) > LONG_LIST:
            return len(keys)
    return 0


def _reads_docstrings(tree: ast.Module) -> bool:
    return any("__doc__" in (getattr(node, name, None) for name in ("id", "attr", "value")) for node in ast.walk(tree))


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        match node:
            case (
                ast.Module(body=[ast.Expr(value=ast.Constant() as text), *_])
                | ast.FunctionDef(body=[ast.Expr(value=ast.Constant() as text), *_])
                | ast.ClassDef(body=[ast.Expr(value=ast.Constant() as text), *_])
            ):
                yield text
