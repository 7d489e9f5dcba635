"""What is installed: the version, which the packaging reads from here, and the libraries that only some commands need.

Without any extra a machine can watch, read, report and steer. A study needs `train`, asking a language model `models`.
"""

from importlib.util import find_spec

VERSION = "0.1.0"
EXTRAS = {
    "train": ("torch", "torchvision", "numpy", "optuna"),
    "models": ("openai", "httpx2"),
}


def missing(extra: str) -> tuple[str, ...]:
    """The libraries of an extra that are not installed. Imports none of them."""
    return tuple(library for library in EXTRAS[extra] if find_spec(library) is None)
