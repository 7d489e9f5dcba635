"""The few calls that Python's standard library does not have: prctl(2) and raw system calls."""

import ctypes
import os

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.restype = ctypes.c_int


def prctl(option: int, value: int = 0) -> None:
    """Raises OSError."""
    unused = ctypes.c_ulong(0)
    if _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), unused, unused, unused) != 0:
        raise _last_error(f"prctl({option}, {value})")


def syscall(number: int, *arguments: "int | ctypes.Structure | None") -> int:
    """The call's result; a structure is passed by its address. Raises OSError."""
    result = int(_libc.syscall(ctypes.c_long(number), *(_word(argument) for argument in arguments)))
    if result < 0:
        raise _last_error(f"system call {number}")
    return result


def _word(argument: "int | ctypes.Structure | None") -> ctypes.c_ulong | ctypes.c_void_p:
    if isinstance(argument, ctypes.Structure):
        return ctypes.c_void_p(ctypes.addressof(argument))
    return ctypes.c_ulong(argument or 0)


def _last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
