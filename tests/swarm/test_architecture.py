"""The import table of the design, the purity of the policies, and the house rules that a machine can check."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("swarm", "workers", "models")
MAX_MODULE_LINES = 400

# A part may import neither these, nor anything below them, anywhere in its text.
FORBIDDEN = {
    "swarm": {"workers", "models", "torch", "torchvision", "openai"},
    "workers": {"models", "torch", "torchvision"},
    "models": {"workers", "openai"},
}
FOUNDATIONS = ("swarm.records", "swarm.errors", "swarm.clock")

# Values in, values out. For admission it is the policy: what decides, not what reads and writes the ledger.
PURE = (
    *("swarm.verdict", "swarm.gate", "swarm.program.constants", "swarm.report.figures", "swarm.study.state"),
    *(f"swarm.admission.{name}" for name in ("core", "events", "model", "scheduling", "runtime", "oom", "predict")),
)
IMPURE_LIBRARIES = frozenset(
    {
        *("os", "io", "pathlib", "shutil", "tempfile", "glob", "fcntl", "mmap", "sqlite3", "filelock", "watchdog"),
        *("subprocess", "multiprocessing", "threading", "concurrent", "asyncio", "signal", "psutil", "ctypes"),
        *("time", "datetime", "socket", "http", "urllib", "httpx2", "logging", "pynvml", "secrets"),
    }
)
STANDARD_LIBRARY_ONLY = ("swarm.supervisor", "swarm.sandbox")
WITHOUT_TORCH = ("swarm.harness.stage_phase", "swarm.harness.score_phase")

# Where an error of any kind is taken: the borders of a process or thread, which report it to the other side.
BROAD_EXCEPTS = {
    "swarm/harness/program.py": "the candidate's own code may raise anything",
    "swarm/gpu/nvml.py": "a driver call in a thread of its own; its caller gets the error",
    "swarm/supervisor/child.py": "between fork and exec: printed as python would have",
    "workers/drafts.py": "the proposing thread; the worker's own thread gets the error",
}


@cache
def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    found = {}
    for part in PARTS:
        for path in sorted((ROOT / part).rglob("*.py")):
            name = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(name[:-1] if name[-1] == "__init__" else name)] = path
    return found


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text())


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of each import below a node; `from a import b` counts as a.b; dots lead relative ones."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = "." * node.level + (f"{node.module}." if node.module else "")
            yield from ((node.lineno, f"{home}{alias.name}") for alias in node.names)


def imports_at_start(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Only what importing the module imports: not in functions, not for the type checker."""
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(node)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pending += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


def our_module(imported: str) -> str | None:
    """The module of ours that an import names, itself or as the home of a name."""
    if imported in modules():
        return imported
    home = imported.rpartition(".")[0]
    return home if home in modules() else None


def below(names: tuple[str, ...]) -> list[str]:
    """The modules with these names and all below them; one that does not exist is not asked about."""
    return [module for module in modules() if any(module == name or module.startswith(f"{name}.") for name in names)]


def reached(name: str) -> Iterator[tuple[str, int, str]]:
    """(module, line, imported) for everything that importing a module of ours imports, through ours."""
    seen, pending = {name}, [name]
    while pending:
        module = pending.pop()
        for line, imported in imports_at_start(tree_of(module)):
            yield module, line, imported
            ours = our_module(imported)
            if ours is not None and ours not in seen:
                seen.add(ours)
                pending.append(ours)


def top(imported: str) -> str:
    return imported.partition(".")[0]


@pytest.mark.parametrize("part", PARTS)
def test_nobody_imports_what_the_table_forbids(part: str) -> None:
    wrong = [
        f"{module}:{line} imports {imported}"
        for module in below((part,))
        for line, imported in imports(tree_of(module))
        if top(imported) in FORBIDDEN[part] and not module.startswith("swarm.harness")
    ]
    assert wrong == []


def test_imports_are_absolute() -> None:
    """The other checks read them as they stand."""
    assert [
        f"{module}:{line}" for module in modules() for line, name in imports(tree_of(module)) if name[0] == "."
    ] == []


def test_the_foundations_import_nothing_of_ours() -> None:
    wrong = [
        f"{module}:{line} imports {imported}"
        for module in below(FOUNDATIONS)
        for line, imported in imports(tree_of(module))
        if top(imported) in PARTS
    ]
    assert wrong == []


def test_the_policies_are_pure() -> None:
    """Neither they nor what they import reach for files, clocks, processes or the network."""
    wrong = {
        f"{module}:{line} imports {imported} (needed by {name})"
        for name in below(PURE)
        for module, line, imported in reached(name)
        if top(imported) in IMPURE_LIBRARIES
    }
    wrong |= {f"{name}:{line} {what}" for name in below(PURE) for line, what in impure_calls(tree_of(name))}
    assert wrong == set()


def impure_calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Also in functions: opening files, printing, and imports that are put off."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="open" | "print" | "input" | "__import__" as called)):
                yield node.lineno, f"calls {called}()"
    for line, imported in imports(tree):
        if top(imported) in IMPURE_LIBRARIES:
            yield line, f"imports {imported}"


def test_the_supervising_process_needs_the_standard_library_only() -> None:
    wrong = {
        f"{module}:{line} imports {imported} (needed by {name})"
        for name in below(STANDARD_LIBRARY_ONLY)
        for module, line, imported in reached(name)
        if top(imported) not in sys.stdlib_module_names and top(imported) not in PARTS
    }
    assert wrong == set()


def test_scoring_needs_no_torch() -> None:
    wrong = {
        f"{module}:{line} imports {imported} (needed by {name})"
        for name in below(WITHOUT_TORCH)
        for module, line, imported in reached(name)
        if top(imported) in {"torch", "torchvision"}
    }
    assert wrong == set()


def test_openai_is_imported_when_it_is_used() -> None:
    wrong = [
        f"{module}:{line} imports {imported}"
        for module in modules()
        for line, imported in imports_at_start(tree_of(module))
        if top(imported) == "openai"
    ]
    assert wrong == []


def test_no_module_outgrows_one_sitting() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules().values()}
    assert {path: length for path, length in lengths.items() if length > MAX_MODULE_LINES} == {}


def test_errors_are_caught_by_name() -> None:
    found: dict[str, list[int]] = {}
    for module, path in modules().items():
        lines = list(broad_excepts(tree_of(module)))
        if lines:
            found[str(path.relative_to(ROOT))] = lines
    assert {path: lines for path, lines in found.items() if path not in BROAD_EXCEPTS} == {}
    existing = {path for path in BROAD_EXCEPTS if (ROOT / path).exists()}
    assert existing - found.keys() == set(), "listed, but there is no broad except any more"


def broad_excepts(tree: ast.AST) -> Iterator[int]:
    """Lines that swallow any error; a handler that ends in a bare `raise` only tidies up."""
    for node in ast.walk(tree):
        match node:
            case ast.ExceptHandler(type=caught, body=body):
                reraised = isinstance(body[-1], ast.Raise) and body[-1].exc is None
                if (caught is None or _names_everything(caught)) and not reraised:
                    yield node.lineno
            case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=arguments):
                if any(_names_everything(argument) for argument in arguments):
                    yield node.lineno


def _names_everything(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Name) and part.id in {"Exception", "BaseException"} for part in ast.walk(node))


def test_names_say_what_a_thing_does() -> None:
    vague = {"utils", "util", "helpers", "common", "misc"}
    assert [module for module in modules() if vague & set(module.split("."))] == []
    managers = [
        f"{module}:{node.lineno} {node.name}"
        for module in modules()
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Manager")
    ]
    assert managers == []
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_these_checks_find_what_they_look_for() -> None:
    tree = ast.parse(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import openai\nelse:\n    import os\n"
        "try:\n    import torch.nn\nexcept (ValueError, Exception):\n    pass\n"
        "class A:\n    from a import b\n"
        "def f():\n    import time\n    open('x')\n"
        "try:\n    f()\nexcept BaseException:\n    raise\n"
        "with suppress(Exception):\n    f()\n"
        "try:\n    f()\nexcept:\n    pass\n"
    )
    assert sorted(name for _, name in imports_at_start(tree)) == ["a.b", "os", "torch.nn", "typing.TYPE_CHECKING"]
    assert sorted(top(name) for _, name in imports(tree)) == ["a", "openai", "os", "time", "torch", "typing"]
    assert list(impure_calls(tree)) == [(14, "calls open()"), (5, "imports os"), (13, "imports time")]
    assert sorted(broad_excepts(tree)) == [8, 19, 23]
    assert our_module("swarm.errors.SwarmError") == "swarm.errors" and our_module("numpy") is None
    assert ("swarm.program.constants", "swarm.records.Scalar") in {
        (module, name) for module, _, name in reached("swarm.gate")
    }
