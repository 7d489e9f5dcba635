"""Rules that a program has to keep by itself: size, syntax, contract, scope, seeding."""

import ast
from collections.abc import Iterator
from functools import lru_cache

from swarm.errors import TargetError
from swarm.gate.answers import Code, Refusal
from swarm.gate.carried import carried_problems
from swarm.gate.names import Names, imported_modules
from swarm.gate.scope import Problems, scope_problems, seeding_problems
from swarm.program import constants
from swarm.program.source import parse_module

MAX_BYTES = 24 * 1024
MAX_LINES = 600
_SHOWN_PROBLEMS = 4


@lru_cache(maxsize=constants.PROGRAMS)
def check_program(source: str, *, also_allowed: frozenset[str] = frozenset()) -> Refusal | None:
    """The first rule that the program breaks. `also_allowed` are imports that a person has chosen."""
    size, lines = len(source.encode(errors="replace")), len(source.splitlines())
    if size > MAX_BYTES or lines > MAX_LINES:
        return Refusal(
            "too_large",
            f"the program has {lines} lines and {size} bytes; {MAX_LINES} lines and {MAX_BYTES} bytes are allowed: "
            "make a smaller change, or remove what it no longer needs",
        )
    try:
        tree = parse_module(source)
        constants.parse(source)
    except TargetError as error:
        return Refusal("syntax", f"the program is not valid: {error}")
    names = Names.of(tree)
    return (
        _refusal("contract", _contract_problems(tree))
        or _refusal("scope", scope_problems(tree, names, also_allowed))
        or _refusal("seeding", seeding_problems(tree, names))
        or _refusal("scope", carried_problems(tree))
    )


@lru_cache(maxsize=constants.PROGRAMS)
def imports_of(source: str) -> frozenset[str]:
    """What a program imports, as `check_program` compares it."""
    return frozenset(name for _, name in imported_modules(parse_module(source)))


def import_effects(tree: ast.Module) -> Iterator[str]:
    """Warnings for statements that do something when the file is merely imported."""
    for statement in tree.body:
        is_call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
        if is_call or isinstance(statement, ast.For | ast.While | ast.With):
            yield f"line {statement.lineno} runs at each import of the file, also for prediction: move it into main()"


def _refusal(code: Code, problems: Problems) -> Refusal | None:
    found = sorted(set(problems))
    if not found:
        return None
    shown = [f"line {line}: {text}" if line else text for line, text in found[:_SHOWN_PROBLEMS]]
    more = len(found) - len(shown)
    return Refusal(code, "; ".join([*shown, f"and {more} more like these"] if more else shown))


def _contract_problems(tree: ast.Module) -> Problems:
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for name, purpose in (
        ("build_model", "returns the untrained model"),
        ("main", "trains it and calls finish(model)"),
    ):
        function = functions.get(name)
        if function is None:
            yield 0, f"the program defines no {name}() at its top level, which {purpose}: add def {name}()"
        elif _needs_arguments(function.args):
            yield function.lineno, f"{name}() is called without arguments: give each of its parameters a default"
    if not any(_calls(node, "finish") for node in ast.walk(tree)):
        yield 0, "the program never calls finish(model), so no weights are handed in: end main() with it"


def _needs_arguments(arguments: ast.arguments) -> bool:
    positional = len(arguments.posonlyargs) + len(arguments.args)
    return positional > len(arguments.defaults) or any(default is None for default in arguments.kw_defaults)


def _calls(node: ast.AST, name: str) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called)):
            return called == name
    return False
