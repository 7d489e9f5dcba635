"""The libraries that only some commands need, and the extra of the distribution that brings each of them.

Without any extra a machine can watch, read, report and steer; `train` is what a study needs, `models` what asking a
language model needs.
"""

from importlib.util import find_spec

from swarm.errors import MissingExtra

EXTRAS = {
    "torch": "train",
    "torchvision": "train",
    "numpy": "train",
    "optuna": "train",
    "openai": "models",
    "httpx2": "models",
}


def missing(extra: str) -> tuple[str, ...]:
    """The libraries of an extra that are not installed here. Imports none of them."""
    return tuple(library for library, home in EXTRAS.items() if home == extra and find_spec(library) is None)


def need(extra: str) -> None:
    """Raises MissingExtra, which names the first library that is missing and how to get it."""
    if absent := missing(extra):
        raise MissingExtra(f"this needs {absent[0]}: {remedy(extra)}")


def remedy(extra: str) -> str:
    return f"pip install 'swarm-research[{extra}]'"
