"""The import table of the design, the purity of the policies, and the house rules that a machine can check."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("swarm", "workers", "models")
MAX_MODULE_LINES = 300

# The rooms of swarm/ from the top floor down. A room imports only from rooms on floors below its own.
FLOORS = (
    ("cli",),
    ("compare", "drill", "watch", "notify"),
    ("nodes", "sharing"),
    ("orchestrator", "pods"),
    ("execution",),
    ("report",),
    ("repo", "brain", "verdict"),
    ("admission",),
    ("study",),
    ("supervisor",),
    ("target",),
    ("gate",),
    ("harness", "grading"),
    ("sandbox", "gpu", "program"),
    ("trial", "records", "errors", "clock", "version", "failpoints"),
)
MAX_ARROWS = 164  # between rooms

# A part may import neither these, nor anything below them, anywhere in its text.
FORBIDDEN = {
    "swarm": {"workers", "models", "torch", "torchvision", "openai"},
    "swarm.harness": {"workers", "models", "openai"},
    "workers": {"models", "torch", "torchvision"},
    "models": {"workers", "openai"},
}

# Values in, values out. For admission it is the policy: what decides, not what reads and writes the ledger.
PURE = (
    *("swarm.verdict", "swarm.gate", "swarm.program", "swarm.report.figures", "swarm.study", "swarm.target.objective"),
    *("swarm.admission.policy", "swarm.execution.executor"),
    *("swarm.nodes.values", "swarm.nodes.entry", "swarm.nodes.exchange"),
    *("swarm.sharing.finding", "swarm.sharing.change", "swarm.sharing.publishing"),
    *("swarm.watch.view", "swarm.watch.pace", "swarm.watch.frame", "swarm.notify.notices"),
)
# Of the trial's room they may know the words; its readers and writers are for others.
PURE_WORDS = {
    "swarm.trial.asked.Harness",
    "swarm.trial.config.Device",
    "swarm.trial.config.Split",
    "swarm.trial.folder.TrialFolder",
}
IMPURE_LIBRARIES = frozenset(
    {
        *("os", "io", "shutil", "tempfile", "glob", "fcntl", "mmap", "sqlite3", "filelock", "watchdog"),
        *("subprocess", "multiprocessing", "threading", "concurrent", "asyncio", "signal", "psutil", "ctypes"),
        *("time", "datetime", "socket", "http", "urllib", "httpx2", "logging", "pynvml", "secrets"),
    }
)
IMPURE_METHODS = frozenset(
    {
        *("read_text", "write_text", "read_bytes", "write_bytes", "open", "touch", "mkdir", "rmdir", "unlink"),
        *("exists", "is_file", "is_dir", "is_symlink", "stat", "lstat", "chmod", "iterdir", "glob", "rglob"),
        *("resolve", "absolute", "symlink_to", "hardlink_to", "readlink"),
    }
)
STANDARD_LIBRARY_ONLY = ("swarm.supervisor", "swarm.sandbox", "swarm.trial", "swarm.grading")
WITHOUT_TORCH = ("swarm.harness.stage_phase", "swarm.harness.score_phase")

# Where an error of any kind is taken: the borders of a process or thread, which report it to the other side.
BROAD_EXCEPTS = {
    "swarm/harness/program.py": "the candidate's own code may raise anything",
    "swarm/gpu/nvml.py": "a driver call in a thread of its own; its caller gets the error",
    "swarm/errors.py": "the one border: what a foreign call raises becomes a value",
    "swarm/supervisor/child.py": "between fork and exec: printed as python would have",
    "workers/background.py": "the proposing thread; the worker's own thread gets the error",
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


def reached(name: str, stop: str = "nowhere") -> Iterator[tuple[str, int, str]]:
    """(module, line, imported) for everything that importing a module of ours imports, through ours. What stands in
    the room `stop` is named and not followed."""
    seen, pending = {name}, [name]
    while pending:
        module = pending.pop()
        for line, imported in imports_at_start(tree_of(module)):
            yield module, line, imported
            ours = our_module(imported)
            if ours is not None and ours not in seen and not ours.startswith(stop):
                seen.add(ours)
                pending.append(ours)


def top(imported: str) -> str:
    return imported.partition(".")[0]


def room_of(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("part", FORBIDDEN)
def test_nobody_imports_what_the_table_forbids(part: str) -> None:
    wrong = [
        f"{module}:{line} imports {imported}"
        for module in below((part,))
        for line, imported in imports(tree_of(module))
        if top(imported) in FORBIDDEN[part] and (part != "swarm" or room_of(module) != "harness")
    ]
    assert wrong == []


def arrows() -> dict[tuple[str, str], str]:
    """(room, imported room) with one place where it is imported, for every pair of rooms of swarm/."""
    return {
        (room_of(module), room_of(ours)): f"{module}:{line} imports {imported}"
        for module in modules()
        if module.startswith("swarm.")
        for line, imported in imports(tree_of(module))
        if (ours := our_module(imported)) is not None and ours.startswith("swarm.") and room_of(ours) != room_of(module)
    }


def upward(found: dict[tuple[str, str], str]) -> list[str]:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    return sorted(place for (room, imported), place in found.items() if floor[imported] <= floor[room])


def test_every_room_stands_on_a_floor() -> None:
    rooms = {room_of(module) for module in modules() if module.startswith("swarm.") and room_of(module) != "__main__"}
    assert rooms == {room for rooms in FLOORS for room in rooms}


def test_imports_go_downwards_only() -> None:
    found = {pair: place for pair, place in arrows().items() if pair[0] != "__main__"}
    assert upward(found) == []
    assert len(found) <= MAX_ARROWS
    assert upward({**found, ("brain", "execution"): "swarm.brain.tail:1 imports swarm.execution.local"}) != []
    assert upward({**found, ("brain", "repo"): "swarm.brain.tail:1 imports swarm.repo.git"}) != []


def test_no_module_imports_itself_through_others() -> None:
    """Also not in functions or for the type checker only."""
    graph = {
        module: {ours for _, name in imports(tree_of(module)) if (ours := our_module(name)) not in (None, module)}
        for module in modules()
        if modules()[module].name != "__init__.py"  # a room's door: it only hands names on
    }
    assert sorted(circles(graph)) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == {"a", "b", "c"}


def circles(graph: dict[str, set[str]]) -> set[str]:
    """Modules that reach themselves."""

    def reach(start: str) -> set[str]:
        seen, pending = set(), [start]
        while pending:
            for following in graph.get(pending.pop(), ()):
                if following not in seen:
                    seen.add(following)
                    pending.append(following)
        return seen

    return {module for module in graph if module in reach(module)}


def test_imports_are_absolute() -> None:
    """The other checks read them as they stand."""
    assert [
        f"{module}:{line}" for module in modules() for line, name in imports(tree_of(module)) if name[0] == "."
    ] == []


def test_the_foundations_import_nothing_of_ours() -> None:
    wrong = [
        f"{module}:{line} imports {imported}"
        for room in FLOORS[-1]
        for module in below((f"swarm.{room}",))
        for line, imported in imports(tree_of(module))
        if top(imported) in PARTS and not imported.startswith(f"swarm.{room}.")
    ]
    assert wrong == []


def test_the_policies_are_pure() -> None:
    """Neither they nor what they import reach for files, clocks, processes or the network."""
    wrong = {
        f"{module}:{line} imports {imported} (needed by {name})"
        for name in below(PURE)
        for module, line, imported in reached(name, stop="swarm.trial")
        if top(imported) in IMPURE_LIBRARIES or (imported.startswith("swarm.trial.") and imported not in PURE_WORDS)
    }
    wrong |= {f"{name}:{line} {what}" for name in below(PURE) for line, what in impure_calls(tree_of(name))}
    assert wrong == set()


def impure_calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Also in functions: opening files, printing, and imports that are put off."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="open" | "print" | "input" | "__import__" as called)):
                yield node.lineno, f"calls {called}()"
            case ast.Call(func=ast.Attribute(attr=method)) if method in IMPURE_METHODS:
                yield node.lineno, f"calls .{method}()"
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


def test_git_ignores_none_of_our_modules() -> None:
    """The wheel leaves out what git ignores: a line meant for the top folder must not take a room away."""
    paths = "\n".join(str(path.relative_to(ROOT)) for path in modules().values())
    command = ["git", "check-ignore", "--no-index", "--stdin"]
    ignored = subprocess.run(command, cwd=ROOT, input=paths, capture_output=True, text=True, check=False)
    assert (ignored.stdout, ignored.returncode) == ("", 1), ignored.stderr


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
