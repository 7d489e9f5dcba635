"""The same programs past the gate: imports that it would refuse are made at run time, from what it allows."""

import re
from functools import cache

from fakes.tiny_study import TRAIN

from swarm.gate import Passed, check

_IMPORT = re.compile(r"^(\s*)import (.+)$")
_FROM = re.compile(r"^(\s*)from (\S+) import (.+)$")
_HONEST = "from swarm.harness import clock, data, device, finish"
_FILES = re.compile(r"\b(torch|np)\.(save|load)\(|\b(swarm\.harness|torch|numpy|os|budget)\.__file__")
_PLAIN = ("torch", "numpy", "random", "math", "gc", "functools", "itertools")
_PRELUDE = """import random

_sys = getattr(getattr(random, "_o" + "s"), "sys")
_import = getattr(_sys.modules["importlib"], "import_module")
open = getattr(_import("io"), "open")


def _from(module, name):
    found = _import(module)
    return getattr(found, name) if hasattr(found, name) else _import(f"{module}.{name}")


"""


def sly(source: str) -> str:
    """The program with its imports hidden; what the gate sees otherwise stays."""
    lines = source.split("\n")
    head = next(number for number, line in enumerate(lines) if line.startswith("import torch"))
    hidden = [line for original in lines[head:] for line in _hidden(original)]
    first = next(number for number, line in enumerate(hidden) if line and not line.startswith(("import ", "from ")))
    return "\n".join([*lines[:head], *hidden[:first], *_PRELUDE.split("\n"), *hidden[first:]])


def _hidden(line: str) -> list[str]:
    if line == _HONEST:
        return [line]
    line = _FILES.sub(_looked_up, line)
    if (found := _IMPORT.match(line)) and not found[2].startswith(_PLAIN):
        return [
            f'{found[1]}{_alias(name)} = _import("{name.split(" as ")[0].strip()}")' for name in found[2].split(",")
        ]
    if (found := _FROM.match(line)) and not f"{found[2]} import".startswith(_PLAIN):
        return [
            f'{found[1]}{_alias(name)} = _from("{found[2]}", "{name.split(" as ")[0].strip()}")'
            for name in found[3].split(",")
        ]
    return [line]


def _looked_up(found: re.Match[str]) -> str:
    if found[3]:
        return f'getattr({found[3]}, "__file__")'
    return f'getattr({found[1]}, "{found[2]}")('


def _alias(name: str) -> str:
    return name.rpartition(" as ")[2].strip().partition(".")[0]


@cache
def passes(source: str) -> bool:
    """Whether the gate lets it run as a change of the honest program."""
    return isinstance(check(source, TRAIN, []), Passed)
