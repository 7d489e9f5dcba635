"""Every failpoint and every durable step of the source, found by reading it."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Calls that change what another process, or the next one, will find.
_OF_OS = frozenset({"fsync", "replace", "rename", "link", "ftruncate", "pwrite", "posix_spawn", "fork"})
_METHODS = frozenset({"replace", "rename", "hardlink_to", "write_text", "write_bytes", "acquire", "Popen"})
_FUNCTIONS = frozenset({"open_locked", "write_whole", "append_durably", "append_history", "lock_descriptor", "Popen"})
_GIT = frozenset({"update-ref", "worktree", "commit-tree", "write-tree", "read-tree"})
_ROOMS = ("brain", "admission/ledger", "repo", "execution", "supervisor", "orchestrator")
"""Where a study's state is written. The commands write reports; the harness writes for one trial, which may be lost."""


def names(*folders: str) -> list[str]:
    """The failpoints of these folders and files of swarm/, or of all our code, in the order of the source."""
    roots = [ROOT / "swarm" / folder for folder in folders] or [ROOT / "swarm", ROOT / "workers"]
    found = [name for path in _modules(roots) for _, name in _failpoints(_tree(path))]
    return list(dict.fromkeys(found))


def bare_steps() -> dict[str, list[str]]:
    """Durable steps without a failpoint before or after them in their function, by `module.py:function`."""
    bare: dict[str, list[str]] = {}
    for path in _modules([ROOT / "swarm" / room for room in _ROOMS]):
        for function in _functions(_tree(path)):
            if missing := list(bare_steps_of(function)):
                bare[f"{path.relative_to(ROOT / 'swarm')}:{function.name}"] = missing
    return bare


def bare_steps_of(function: ast.FunctionDef) -> Iterator[str]:
    places = [line for line, _ in _failpoints(function)]
    for line, what in durable_calls(function):
        if not any(place < line for place in places):
            yield f"{what}: nothing before it"
        if not any(place > line for place in places):
            yield f"{what}: nothing after it"


def durable_calls(node: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, what) of each call that leaves something behind, nested functions left out."""
    for call in _calls(node):
        match call.func:
            case ast.Attribute(value=ast.Name(id="os"), attr=attr) if attr in _OF_OS:
                yield call.lineno, f"os.{attr}"
            case ast.Attribute(attr="replace") if len(call.args) != 1 or call.keywords:
                continue  # of a text, or of a dataclass
            case ast.Attribute(attr=attr) if attr in _METHODS:
                yield call.lineno, f".{attr}"
            case ast.Name(id=name) if name in _FUNCTIONS:
                yield call.lineno, name
            case _:
                said = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
                yield from ((call.lineno, f"git {word}") for word in said if isinstance(word, str) and word in _GIT)


def _failpoints(node: ast.AST) -> Iterator[tuple[int, str]]:
    for call in sorted(_calls(node, nested=True), key=lambda call: call.lineno):
        match call:
            case ast.Call(func=ast.Name(id="failpoint"), args=[ast.Constant(value=str(name))]):
                yield call.lineno, name


def _calls(node: ast.AST, *, nested: bool = False) -> Iterator[ast.Call]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield child
        if nested or not isinstance(child, ast.FunctionDef):
            yield from _calls(child, nested=nested)


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _modules(roots: list[Path]) -> Iterator[Path]:
    for root in roots:
        yield from [root] if root.is_file() else sorted(root.rglob("*.py"))
