"""One of every exception class of the standard library, to be thrown through a border."""

import importlib
import pkgutil
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NoReturn

# Importing these does something, or needs a display.
_NOT_IMPORTED = {"antigravity", "this", "idlelib", "turtledemo", "turtle", "lib2to3", "test", "__main__", "msilib"}

_ARGUMENTS: tuple[tuple[Any, ...], ...] = (
    ("what it says",),
    (),
    ("what", "it"),
    ("utf-8", b"x", 0, 1, "what it says"),
    ("utf-8", "x", 0, 1, "what it says"),
    ("x", 0, 1, "what it says"),
    ("what", [ValueError("inner")]),
    (1, "what"),
    ("a", "b", "c"),
    ("http://nowhere", 500, "what it says", {}, None),
)


class Speechless(Exception):
    """Fails at saying what is wrong."""

    def __str__(self) -> str:
        raise RuntimeError("not even that")


class OfNoOtherClass(BaseException):
    """Neither an Exception nor one of Python's own."""


@cache
def every_exception() -> tuple[BaseException, ...]:
    """Built in, of the library's modules, and two of nobody's. KeyboardInterrupt is left out: it is a person's word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in sorted(sys.stdlib_module_names):
            if name not in _NOT_IMPORTED and not name.startswith("_"):
                _import(name)
    classes = sorted(set(_below(BaseException)), key=lambda kind: (kind.__module__, kind.__qualname__))
    kinds = [kind for kind in classes if _is_standard(kind) and not issubclass(kind, KeyboardInterrupt)]
    made = [error for kind in kinds if (error := _made(kind)) is not None]
    return (
        *made,
        SystemExit(14),
        SystemExit(None),
        OSError(28, "No space left on device", "/tmp/x"),
        Speechless(),
        OfNoOtherClass(),
    )


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail


def repr_of(error: object) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"


def _import(name: str) -> None:
    try:
        module = importlib.import_module(name)
        for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
            if name in (
                "asyncio",
                "concurrent",
                "email",
                "http",
                "json",
                "logging",
                "multiprocessing",
                "urllib",
                "xml",
            ):
                importlib.import_module(f"{name}.{found.name}")
    except (ImportError, OSError, AttributeError, RuntimeError):  # not on this platform
        pass


def _below(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    yield kind
    for child in type.__subclasses__(kind):
        yield from _below(child)


def _is_standard(kind: type[BaseException]) -> bool:
    return kind.__module__.partition(".")[0] in sys.stdlib_module_names and isinstance(
        sys.modules.get(kind.__module__, types), types.ModuleType
    )


def _made(kind: type[BaseException]) -> BaseException | None:
    for arguments in _ARGUMENTS:
        try:
            return kind(*arguments)
        except Exception:  # noqa: BLE001 - other arguments may do
            continue
    return None
