"""A process made ready to fork phases: all that they import is imported, and its memory is cheap to share."""

import gc
import importlib
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Protocol, cast

from swarm import sandbox
from swarm.errors import Escaped, contained
from swarm.sandbox.libc import MADV_COLLAPSE, madvise
from swarm.supervisor.child import run_phase
from swarm.supervisor.run import WARM_LIMIT_S
from swarm.supervisor.start import RunPhase

_HUGE = 2 * 1024 * 1024


class Preload(Protocol):
    def assert_forkable(self) -> None:
        """Raises when a fork of this process would inherit a thread or a device."""


def warm(name: str) -> Preload:
    """Imports the module `name` into this process. Raises what the module raises."""
    sandbox.probe()  # tried in children, once for all forks; they are cheap as long as this process is small
    preload = cast(Preload, importlib.import_module(name))
    preload.assert_forkable()
    gc.freeze()  # the collector would otherwise write to, and so copy, the pages that all forks share
    return preload


def warm_supervisor(name: str) -> RunPhase | None:
    """The same for the supervisor of one trial. None where there is no such module, or it cannot be: each phase then
    starts an interpreter of its own."""
    if not name:
        return None
    signal.alarm(WARM_LIMIT_S)
    tried = contained(lambda: warm(name))
    signal.alarm(0)
    if isinstance(tried, Escaped):
        sys.stderr.write(f"each phase starts an interpreter of its own: {tried.text}\n")
        return None
    return run_phase


def gather_memory() -> None:
    """Puts this process's own memory into huge pages, where the kernel does that on demand (Linux 6.1).

    A fork copies the page tables of its parent and takes them down at its end: with torch loaded 26 ms of CPU time
    in pages of 4 KiB and 4 to 6 ms in pages of 2 MiB. What a fork writes it copies 4 KiB at a time, as before. Takes
    half a second, and pays after some twenty forks.
    """
    gc.collect()
    gc.freeze()
    with suppress(OSError):
        for line in Path("/proc/self/maps").read_text().splitlines():
            area, rights, _, _, inode, *name = line.split(maxsplit=5)
            if rights == "rw-p" and inode == "0" and name in ([], ["[heap]"]):
                _gather(*(int(number, 16) for number in area.split("-")))


def _gather(first: int, last: int) -> None:
    first, last = -(-first // _HUGE) * _HUGE, last // _HUGE * _HUGE
    if first < last:
        with suppress(OSError):
            madvise(first, last - first, MADV_COLLAPSE)
