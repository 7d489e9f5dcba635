"""The compiler below `torch.compile` in a trial: in this process, into scratch, and never the reason why a trial fails.

The environment that the supervisor gives (`swarm.supervisor.environment`) says where what is compiled is kept, and that
one thread of this process compiles: a pool of workers would need shared memory, and outlive a fork. What is compiled is
C++ on a CPU and a small launcher in C for each kernel on a GPU, so a compiler has to be there and children have to be
allowed. Where they are not, or where torch cannot compile a program, it runs as it is written, and its record says so.
Programs that use `swarm.harness.compiled` have their fallback there.
"""

import importlib
import os
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

COMPILERS = {"cpu": ("CXX", ("g++",)), "cuda": ("CC", ("gcc", "clang", "cc"))}
"""For each device the variable that names another one, and what torch (Inductor, Triton) looks for without it."""

_ASKS = re.compile(rb"\.compile\b")


def prepare(program: Path, device: str, why_uncompiled: str = "") -> str:
    """For a program that calls `torch.compile` by itself: whatever torch cannot compile runs uncompiled, and all of it
    where no compiler runs, or where there is a reason to let it be; the answer says why, and is empty otherwise.

    Free for other programs. Call it before the program's first line, in the sandbox.
    """
    try:
        if _ASKS.search(program.read_bytes()) is None:
            return ""
    except OSError:
        return ""
    dynamo = importlib.import_module("torch._dynamo")  # a second, which only these programs need
    dynamo.config.suppress_errors = True
    if (inductor := sys.modules.get("torch._inductor.config")) is not None:
        inductor.compile_threads = 1  # type: ignore[attr-defined] # a fork read it before it had its environment
    if reason := why_uncompiled or why_not(device):
        dynamo.config.disable = True
        print(f"torch.compile does nothing here: {reason}", file=sys.stderr, flush=True)
    return reason


def why_not(device: str) -> str:
    """Why nothing can be compiled for this device; empty where a compiler answers."""
    variable, names = COMPILERS[device]
    named = os.environ.get(variable)
    found = [path for name in ((named,) if named else names) if (path := shutil.which(name)) is not None]
    if not found:
        return f"there is no compiler: {' or '.join((named,) if named else names)} is not on PATH. Install g++."
    try:
        silent = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
        child = os.posix_spawn(found[0], [found[0], "--version"], os.environ, file_actions=silent)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except PermissionError:
        return "a trial may start no compiler here, since the kernel does not count the CPU time of children"
    except OSError as error:
        return f"{found[0]} does not start: {error.strerror}"
    return "" if code == 0 else f"{found[0]} --version ended with {code}"


def compiled_s() -> float:
    """Wall seconds that torch says it has spent compiling in this process, forwards and backwards."""
    utils = _dynamo_utils()
    spent = {} if utils is None else utils.cumulative_time_spent_ns
    return float(sum(spent.get(name, 0.0) for name in ("entire_frame_compile", "entire_backward_compile"))) / 1e9


def failed() -> bool:
    """Whether torch has tried to compile something of this program, and could compile nothing."""
    utils = _dynamo_utils()
    frames = {} if utils is None else utils.counters["frames"]
    return bool(frames.get("total")) and not frames.get("ok")


def _dynamo_utils() -> ModuleType | None:
    """None in a process that has compiled nothing so far."""
    return sys.modules.get("torch._dynamo.utils")
