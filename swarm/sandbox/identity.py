"""Who a candidate is: a user of its own where we are root, and nobody's capabilities in any case."""

import ctypes
import os
import stat
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from swarm.sandbox import calls
from swarm.sandbox.libc import PR_CAPBSET_DROP, PR_SET_DUMPABLE, prctl, syscall

_FIRST_USER, _USERS = 61184, 4000  # the range that systemd keeps for users that come and go
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64
_MOST_OWNED = 10_000


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("words", ctypes.c_uint32 * 6),)


def user_for(folder: str) -> int:
    """The number of the user that a trial in this folder gets; two trials on one machine hardly ever share one."""
    return _FIRST_USER + zlib.crc32(os.fsencode(folder)) % _USERS


def can_become(user: int) -> bool:
    """Whether this process may become `user`: root may, where the user is mapped (not in every container)."""
    if os.geteuid() != 0:
        return False
    rows = (line.split() for line in Path("/proc/self/uid_map").read_text().splitlines())
    return any(int(first) <= user < int(first) + int(count) for first, _, count in rows)


def closed_to_others(paths: Iterable[str], *, by_path: bool, write: bool = False) -> str:
    """The first of these files and folders that another user may not read, with its mode; empty if there is none.

    `by_path`: it also has to get there through the folders above. `write`: files also have to be open for writing.
    """
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            real = Path(path).resolve()
            mode = real.stat().st_mode
            of_kind = stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IWOTH if write else 0
            needed = stat.S_IROTH | of_kind
            if not stat.S_ISLNK(mode) and mode & needed != needed:
                return f"{path} ({stat.filemode(mode)})"
            for parent in real.parents if by_path else ():
                if not parent.stat().st_mode & stat.S_IXOTH:
                    return f"{path} (below {parent}, {stat.filemode(parent.stat().st_mode)})"
    return ""


def hand_over(paths: Iterable[str], user: int) -> None:
    """Makes `user` the owner of our files and folders below these paths; links are not followed. Raises OSError."""
    waiting, changed = list(paths), 0
    while waiting:
        path = waiting.pop()
        with suppress(FileNotFoundError):
            facts = os.lstat(path)
            if facts.st_uid != user:
                os.chown(path, user, user, follow_symlinks=False)
            if stat.S_ISDIR(facts.st_mode) and (changed := changed + 1) < _MOST_OWNED:
                waiting += [
                    entry.path for entry in os.scandir(path) if entry.stat(follow_symlinks=False).st_uid != user
                ]


def become(user: int | None) -> None:
    """Becomes `user`, if it is given, and gives up every capability for this process and all that it starts, for good.

    Root without capabilities is an ordinary owner of root's files. Raises OSError.
    """
    for capability in range(_CAPABILITIES):
        with suppress(OSError):  # there are fewer, or an ordinary user has none to drop
            prctl(PR_CAPBSET_DROP, capability)
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        prctl(PR_SET_DUMPABLE, 1)  # or its own /proc/self would be closed to it
    syscall(_CAPSET[calls.machine()], _Header(version=_CAPABILITY_VERSION_3), _Sets())
