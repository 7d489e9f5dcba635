"""Room on the disk of a study: what a full one looks like, and the wait until there is some again."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from swarm.clock import Clock
from swarm.errors import DiskFull, RepoError

ENOUGH_MIB = 32  # for what a trial leaves and the records of some
LOOK_EVERY_S = 2.0
TRY_AFTER_S = 30.0  # a quota does not show in what is free
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_WORDS = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))


def is_full(error: BaseException) -> bool:
    """Whether this was raised because a disk has no room, by the system, the brain or git."""
    return any(
        isinstance(one, DiskFull)
        or (isinstance(one, OSError) and one.errno in _FULL)
        or (isinstance(one, RepoError) and any(words in str(one) for words in _WORDS))
        for one in _chain(error)
    )


def free_mib(folder: Path) -> float:
    """Infinity where nobody can say."""
    try:
        return shutil.disk_usage(folder).free / 2**20
    except OSError:
        return float("inf")


def shortage(folder: Path) -> str | None:
    """What is missing when the disk of this folder is as good as full."""
    free = free_mib(folder)
    if free >= ENOUGH_MIB:
        return None
    return f"the disk of {folder} is full: {free:.1f} MiB are free and {ENOUGH_MIB} are needed"


def require_room(folder: Path) -> None:
    """Raises DiskFull."""
    if (text := shortage(folder)) is not None:
        raise DiskFull(f"{text}. Free some space there.")


def wait_for_room(folder: Path, clock: Clock, wanted: Callable[[], bool]) -> bool:
    """Until there is room, or it is time to try all the same. False when the study is not `wanted` any more."""
    until = clock.monotonic() + TRY_AFTER_S
    while wanted():
        clock.sleep(LOOK_EVERY_S)
        if free_mib(folder) >= ENOUGH_MIB or clock.monotonic() >= until:
            return True
    return False


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
