"""What is installed: the version, which the packaging reads from here, and the libraries that only some commands need.

Without any extra a machine can watch, read, report and steer. A study needs `train`, asking a language model `models`,
the live page `web`, and an export into another tool's store the extra of its name.
"""

from importlib import metadata
from importlib.util import find_spec

VERSION = "0.1.0"
EXTRAS = {
    "train": ("torch", "torchvision", "numpy", "optuna"),
    "models": ("openai", "httpx2"),
    "web": ("starlette", "uvicorn"),
    "parquet": ("pyarrow",),
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "wandb": ("wandb",),
    "optuna": ("optuna",),
    "ray": ("ray",),
    "slurm": ("submitit",),
}


LEAST = {"torch": "2.10"}
"""Older ones are no use. torch up to 2.9 aborts on the option of its allocator by which a trial on a GPU is capped."""


def missing(extra: str) -> tuple[str, ...]:
    """The libraries of an extra that are not installed. Imports none of them."""
    return tuple(library for library in EXTRAS[extra] if find_spec(library) is None)


def too_old(extra: str) -> tuple[str, ...]:
    """Those of an extra that are installed and older than they may be: `torch 2.10 or later (2.9.1 is installed)`."""
    found = []
    for library in EXTRAS[extra]:
        least = LEAST.get(library)
        if least is None or find_spec(library) is None:
            continue
        version = metadata.version(library)
        if _numbers(version) < _numbers(least):
            found.append(f"{library} {least} or later ({version} is installed)")
    return tuple(found)


def _numbers(version: str) -> tuple[int, ...]:
    """(2, 10) of 2.10.0+cu130: enough to compare by."""
    return tuple(int(part) for part in version.split("+", maxsplit=1)[0].split(".")[:2] if part.isdigit())
