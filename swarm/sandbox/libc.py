"""The few calls that Python's standard library does not have: prctl(2), madvise(2), mounts and raw system calls."""

import ctypes
import os

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
MADV_COLLAPSE = 25

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.restype = ctypes.c_int

Argument = int | bytes | None | ctypes.Structure


def prctl(option: int, value: int = 0) -> None:
    """Raises OSError."""
    unused = ctypes.c_ulong(0)
    if _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), unused, unused, unused) != 0:
        raise _last_error(f"prctl({option}, {value})")


def syscall(number: int, *arguments: Argument) -> int:
    """The call's result; bytes and structures are passed by their address. Raises OSError."""
    result = int(_libc.syscall(ctypes.c_long(number), *(_word(argument) for argument in arguments)))
    if result < 0:
        raise _last_error(f"system call {number}")
    return result


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """mount(2). Raises OSError."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    if _libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]) != 0:
        raise _last_error(f"mount {target}")


def unmount(target: str, flags: int) -> None:
    """umount2(2). Raises OSError."""
    if _libc.umount2(os.fsencode(target), ctypes.c_int(flags)) != 0:
        raise _last_error(f"unmount {target}")


def unshare(flags: int) -> None:
    """unshare(2). Raises OSError."""
    if _libc.unshare(ctypes.c_int(flags)) != 0:
        raise _last_error("unshare")


def madvise(address: int, length: int, advice: int) -> None:
    """madvise(2). Raises OSError."""
    if _libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(length), ctypes.c_int(advice)) != 0:
        raise _last_error("madvise")


def _word(argument: Argument) -> ctypes.c_ulong | ctypes.c_void_p | ctypes.c_char_p:
    if isinstance(argument, ctypes.Structure):
        return ctypes.c_void_p(ctypes.addressof(argument))
    if isinstance(argument, bytes):
        return ctypes.c_char_p(argument)
    return ctypes.c_ulong(argument or 0)


def _last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
