"""How a program calls the harness, out of the harness's own text: signatures with the first line of each docstring.

Read and not imported: importing it would import torch.
"""

import ast
from functools import cache
from pathlib import Path

from swarm import harness

_WHERE = (
    ("data", "data.py", None, ("train",)),
    ("clock", "loop.py", "BudgetClock", ("batches", "report")),
    ("augment", "augment.py", None, ()),
    ("", "compiling.py", None, ("compiled",)),
    ("", "handin.py", None, ("finish",)),
)
MAX_DOCUMENTATION = 110
MAX_OF_THE_LOOP = 420  # it says what `state` is for


@cache
def harness_calls() -> tuple[str, ...]:
    """One line a function or value; the same for every program that uses the harness."""
    folder = Path(harness.__file__ or "").parent
    lines = [
        "device: the torch.device of this trial",
        "clock.progress: share of the budget that is spent, in [0, 1]. clock.step and clock.epoch are counts, "
        "clock.indices the rows of the present batch",
    ]
    for prefix, file, owner, names in _WHERE:
        body = ast.parse((folder / file).read_text(encoding="utf-8")).body
        if owner is not None:
            body = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == owner).body
        functions = [node for node in body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
        lines += [_told(prefix, node) for node in functions if not names or node.name in names]
    return tuple(lines)


def _told(prefix: str, node: ast.FunctionDef) -> str:
    name = f"{prefix}.{node.name}" if prefix else node.name
    limit = MAX_OF_THE_LOOP if prefix == "clock" else MAX_DOCUMENTATION
    told = _whole_sentences(" ".join((ast.get_docstring(node) or "").split()), limit)
    arguments = ast.unparse(node.args).removeprefix("self, ").removeprefix("self")
    returned = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    return f"{name}({arguments}){returned}: {told}".rstrip(": ")


def _whole_sentences(text: str, limit: int) -> str:
    """As many as fit, and at least a part of the first."""
    end = text.rfind(". ", 0, limit)
    return text if len(text) <= limit else text[: end + 1] if end > 0 else text[:limit]
