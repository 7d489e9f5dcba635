"""What a training program may import, use and change. Lists of names with their reasons: hygiene, no wall."""

import ast
from collections.abc import Iterator

from swarm.gate.harness import HARNESS, HARNESS_NAMES, not_offered
from swarm.gate.names import Names, imported_modules, outermost

_ALLOWED_MODULES = frozenset(
    {
        *("torch", "torchvision", "numpy", "math", "random", "statistics", "fractions", "decimal", "numbers"),
        *("functools", "itertools", "collections", "operator", "copy", "heapq", "bisect", "string", "re"),
        *("dataclasses", "enum", "typing", "types", "abc", "contextlib", "warnings", "gc", "__future__"),
    }
)
_WHY_NOT_MODULE = {
    "time": "the budget is the harness's: take schedules from clock.progress",
    "os": "a program runs no commands and reads no environment or files",
    "sys": "a program does not change the interpreter it runs in",
    "subprocess": "a program starts no processes",
    "multiprocessing": "a program starts no processes",
    "threading": "a program starts no threads: the data is on the device already",
    "concurrent": "a program starts no threads: the data is on the device already",
    "socket": "there is no network",
    "urllib": "there is no network",
    "requests": "there is no network",
    "ctypes": "a program loads no native code",
    "pickle": "a program loads no objects: weights are saved by finish(model)",
    "importlib": "imports are written at the top",
    "pathlib": "a program reads and writes no files: data comes from swarm.harness, weights go to finish(model)",
    "shutil": "a program reads and writes no files",
    "tempfile": "a program reads and writes no files",
    "timm": "it is not installed for trials: write the model with torch.nn",
}
# What allowed modules have imported for themselves, as `torch.os` or `random._os`: no way around the list.
_OTHER_MODULES = frozenset(
    {
        *("os", "sys", "subprocess", "socket", "ctypes", "importlib", "pickle", "pathlib", "shutil", "tempfile"),
        *("builtins", "posix", "inspect", "threading", "io"),
    }
)
_UNLISTED = "allowed are torch, torchvision, numpy, math and other harmless modules of the standard library"
_NO_FILES = "a program reads and writes no files: data comes from swarm.harness, weights go to finish(model)"
_NO_CODE = "code is written out, not made at run time"
_WHY_NOT_NAME = {
    "torch.hub": "there is no network and no pretrained model",
    "torch.load": _NO_FILES,
    "torch.save": _NO_FILES,
    "torch.jit.load": _NO_FILES,
    "torch.ops.load_library": "a program loads no native code",
    "torch.utils.cpp_extension": "a program compiles no native code",
    "torch.multiprocessing": "a program starts no processes",
    "torch.distributed": "a trial is one process on one device",
    "torch.cuda.set_per_process_memory_fraction": "the memory cap belongs to the trial's reservation",
    "torchvision.datasets": "data comes from swarm.harness",
    "torchvision.io": _NO_FILES,
    **dict.fromkeys(
        (f"numpy.{name}" for name in ("load", "save", "savez", "fromfile", "memmap", "loadtxt")), _NO_FILES
    ),
    "numpy.ctypeslib": "a program loads no native code",
    "builtins.open": _NO_FILES,
    **dict.fromkeys((f"builtins.{name}" for name in ("eval", "exec", "compile", "__import__")), _NO_CODE),
    "builtins.__builtins__": "a program does not change the interpreter it runs in",
    "builtins.breakpoint": "nobody is there to answer",
}
# Of the names that Python keeps for itself, those that classes are written with. The others lead out of an object into
# the module around it, and from there anywhere.
_DUNDERS = frozenset(
    f"__{name}__"
    for name in (
        *("init", "new", "post_init", "call", "class", "name", "qualname", "doc", "version", "repr", "str", "len"),
        *("iter", "next", "contains", "getitem", "setitem", "enter", "exit", "eq", "hash", "bool", "float", "int"),
        *("setattr", "getattr", "add", "sub", "mul", "matmul", "truediv", "torch_function", "init_subclass", "slots"),
    )
)
_WRITABLE = ("torch.backends.", "torch._dynamo.config.", "torch._inductor.config.")  # settings, made to be assigned

_HARNESS_SEEDS = (
    "the harness seeds torch, numpy and random anew for each replicate; remove it and draw from the global generators"
)
_SEEDING_NAMES = frozenset(
    {
        *("torch.seed", "torch.Generator", "torch.default_generator"),
        *("random.seed", "random.Random", "random.SystemRandom", "random.setstate"),
        *("numpy.random.seed", "numpy.random.default_rng", "numpy.random.RandomState", "numpy.random.Generator"),
    }
)
_SEEDING_ATTRIBUTES = frozenset(
    {"manual_seed", "manual_seed_all", "seed_all", "set_rng_state", "set_rng_state_all", "fork_rng"}
)

Problems = Iterator[tuple[int, str]]  # (line, what and why)


def scope_problems(tree: ast.Module, names: Names, also_allowed: frozenset[str]) -> Problems:
    """Imports and names outside of what a training program needs, and changes to what others share."""
    for line, name in imported_modules(tree):
        why = None if name in also_allowed else _why_not_import(name)
        if why is not None:
            yield line, f"import of {name}: {why}"
    for node in ast.walk(tree):
        yield from _use_problems(node, names, also_allowed)
        yield from _write_problems(node, names)
    for node in outermost(tree):
        full = names.dotted(node)
        if full is not None and (problem := not_offered(full, also_allowed)) is not None:
            yield node.lineno, problem


def seeding_problems(tree: ast.Module, names: Names) -> Problems:
    """Everything that would fix or fork the random numbers: then replicates on fresh seeds were no replicates."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name | ast.Attribute):
            continue
        name = names.dotted(node)
        attribute = node.attr if isinstance(node, ast.Attribute) else (name or "").rpartition(".")[2]
        if name in _SEEDING_NAMES or (attribute in _SEEDING_ATTRIBUTES and (name is None or "builtins" not in name)):
            shown = name or attribute
            yield node.lineno, f"{shown} is not allowed: {_HARNESS_SEEDS}"


def _why_not_import(name: str) -> str | None:
    if name.endswith(".*"):
        return "import the names that are used, one by one"
    if name in (HARNESS, *(f"{HARNESS}.{offered}" for offered in HARNESS_NAMES)):
        return None
    root = name.partition(".")[0]
    if root in ("swarm", "models"):
        if name.startswith(f"{HARNESS}.") and not_offered(name, frozenset()) is None:
            return None
        return f"only these names of {HARNESS} are offered: {', '.join(sorted(HARNESS_NAMES))}"
    if root not in _ALLOWED_MODULES:
        return _WHY_NOT_MODULE.get(root, _UNLISTED)
    return _why_not_name(name, frozenset())


def _why_not_name(name: str, also_allowed: frozenset[str]) -> str | None:
    """The reason for the name or for what it is part of."""
    parts = name.split(".")
    if taken := next((part for part in parts[1:] if part.strip("_") in _OTHER_MODULES), None):
        return f"it takes {taken} out of another module: {_WHY_NOT_MODULE.get(taken.strip('_'), _UNLISTED)}"
    prefixes = (".".join(parts[:length]) for length in range(2, len(parts) + 1))
    refused = (prefix for prefix in prefixes if prefix in _WHY_NOT_NAME and prefix not in also_allowed)
    return next((_WHY_NOT_NAME[prefix] for prefix in refused), None)


def _use_problems(node: ast.AST, names: Names, also_allowed: frozenset[str]) -> Problems:
    for line, inner in _inner_names(node):
        yield line, f"{inner} is no business of a training program: leave it out"
    if not isinstance(node, ast.Name | ast.Attribute):
        return
    name = names.dotted(node)
    if name is None or not isinstance(node.ctx, ast.Load):
        return
    why = _why_not_name(name, also_allowed)
    if why is not None:
        yield node.lineno, f"{name.removeprefix('builtins.')} is not allowed: {why}"


def _inner_names(node: ast.AST) -> Problems:
    """(line, name) where the node uses a name of Python's own: as a name, as an attribute, or as the text of one."""
    match node:
        case ast.Attribute(attr=attribute, lineno=line) | ast.Name(id=attribute, lineno=line):
            pass
        case ast.Call(
            func=ast.Name(id="getattr" | "setattr"), args=[_, ast.Constant(value=str(attribute)), *_], lineno=line
        ):
            pass
        case _:
            return
    if attribute.startswith("__") and attribute.endswith("__") and attribute not in _DUNDERS:
        yield line, attribute


def _write_problems(node: ast.AST, names: Names) -> Problems:
    """Assignments to attributes of imported things, which would change torch or the harness under everybody's feet."""
    match node:
        case ast.Attribute(ctx=ast.Store() | ast.Del()):
            name = names.dotted(node)
        case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[first, *_]):
            name = names.dotted(first)
        case _:
            return
    if name is not None and not name.startswith(("builtins.", *_WRITABLE)):
        yield node.lineno, f"it changes {name}, which is not the program's own: define a function or class of its own"
