"""Loads the candidate's file, and turns whatever it does into an exit code."""

import importlib
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from swarm.harness.errors import ContractBroken, HarnessError
from swarm.trial.contract import ExitCode


def load_program(path: Path) -> ModuleType:
    """Runs the candidate's file as the module `program`. Raises ContractBroken when it is not there.

    Compiled from its source each time: bytecode in `__pycache__` is neither written nor believed, so that what trains
    and what predicts is the text that was committed. It is UTF-8, whatever a comment in it says: the text that the gate
    has read.
    """
    try:
        source = path.read_bytes().decode()
    except OSError as error:
        raise ContractBroken(f"there is no program at {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ContractBroken(f"the program at {path} is not UTF-8: {error.reason}, byte {error.start}") from error
    module = ModuleType("program")
    module.__file__ = str(path)
    sys.modules["program"] = module
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def import_first(path: Path) -> None:
    """Imports the large library that a program names, before anything is charged to it: a warm process has it."""
    with suppress(OSError):
        if b"torchvision" in path.read_bytes():
            importlib.import_module("torchvision")


def entry(module: ModuleType, name: str) -> Callable[[], object]:
    """The function `name` of the program. Raises ContractBroken."""
    function = getattr(module, name, None)
    if not callable(function):
        raise ContractBroken(f"the program defines no function {name}(): it needs build_model() and main()")
    return function  # type: ignore[no-any-return]


def exit_code_of(phase: Callable[[], None]) -> int:
    """Runs one phase: 0, the exit code of its HarnessError, or 1 for anything else, with the reason on stderr.

    This is a process border: a candidate may raise anything, and a traceback in the log is what its author needs.
    """
    try:
        phase()
    except HarnessError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        return ExitCode.CRASHED
    return ExitCode.OK
