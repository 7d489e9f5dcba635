"""Which imported thing a name in a program stands for, whatever the program calls it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    """`imports` maps a local name to what it was imported as; `own` are the names that the program binds itself."""

    imports: dict[str, str]
    own: frozenset[str]

    @classmethod
    def of(cls, tree: ast.Module) -> "Names":
        imports = {local: full for node in ast.walk(tree) for local, full in _bindings(node)}
        return cls(imports, frozenset(name for node in ast.walk(tree) for name in _own_names(node)))

    def dotted(self, node: ast.AST) -> str | None:
        """`numpy.random.seed` for `np.random.seed`, `builtins.open` for an `open` of nobody's own, else None."""
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        root = self.imports.get(node.id)
        if root is None:
            if node.id in self.own:
                return None
            root = f"builtins.{node.id}"
        return ".".join([root, *reversed(attributes)])


def outermost(tree: ast.Module) -> Iterator[ast.Name | ast.Attribute]:
    """Names with all their attributes: `a.b.c` once, and not `a.b` and `a` besides."""
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in inner:
            yield node


def imported_modules(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of each import; for `from a import b` the name is `a.b`, relative ones begin with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (f"{node.module}." if node.module else "")
            yield from ((node.lineno, f"{module}{alias.name}") for alias in node.names)


def _bindings(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name.partition(".")[0]
            yield (alias.asname, alias.name) if alias.asname else (top, top)
    elif isinstance(node, ast.ImportFrom) and node.level == 0:
        for alias in node.names:
            yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _own_names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store()):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.arg(arg=name):
            yield name
