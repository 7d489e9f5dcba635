"""Landlock through raw system calls: which files, TCP ports and processes this process may reach, from now on.

No privilege and no namespace is needed (Linux >= 5.13, also in containers). Numbers are those of linux/landlock.h; the
three system calls have the same numbers on every architecture.
"""

import ctypes
import os
import stat
from collections.abc import Iterable
from contextlib import suppress

from swarm.sandbox.libc import PR_SET_NO_NEW_PRIVS, prctl, syscall
from swarm.sandbox.policy import SandboxPolicy

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_KNOWN_ABI = 7

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK = 1 << 4, 1 << 5, 1 << 7, 1 << 8, 1 << 9
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
# How many of the bits above an ABI knows; all known ones are handled, so what no rule grants is refused.
_BITS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_PROCESS, _THREADS = "/proc/self", "/proc/self/task"
_NET_BIND_TCP, _NET_CONNECT_TCP = 1 << 0, 1 << 1
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1 << 0, 1 << 1

_READ = _EXECUTE | _READ_FILE | _READ_DIR
# Not: symbolic links, named pipes and device nodes. A trusted phase that opens a candidate's output gets plain files.
_WRITE = _READ_FILE | _READ_DIR | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK
_WRITE |= _REFER | _TRUNCATE
_WRITING = _WRITE_FILE | sum(1 << bit for bit in range(4, 15))  # remove, make, link across folders, truncate
_NODES = 1 << 6 | 1 << 11  # character and block devices
ABI_THAT_KNOWS_TRUNCATION = 3
_DEVICE = _READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
# Drivers from 570 on write `comm` of their threads while they start, and take a refusal for the end (error 304).
_NAME_THREADS = _READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE
_FILE_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def abi() -> int:
    """The kernel's Landlock version; 0 where there is none or it is switched off."""
    try:
        return syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    except OSError:
        return 0


def restrict(policy: SandboxPolicy) -> int:
    """Closes everything that the policy does not name, for this process and all its descendants, for good.

    Also, as far as the kernel's version goes: TCP (from 4), signals to and abstract sockets of processes outside
    (from 6). Returns the version used. The process must have one thread: others would stay free. Raises OSError.
    """
    version = min(abi(), _KNOWN_ABI)
    handled = (1 << _BITS_OF_ABI[min(version, 5)]) - 1
    ruleset = syscall(_CREATE_RULESET, *_ruleset(version, handled), 0)
    try:
        _hold_own_process()
        _allow(ruleset, policy.read, handled & _READ)
        _allow(ruleset, policy.write, handled & _WRITE)
        _allow(ruleset, policy.devices, handled & _DEVICE)
        if policy.gpu:
            _allow(ruleset, (_THREADS,), handled & _NAME_THREADS)
        _enter(ruleset)
    finally:
        os.close(ruleset)
    return version


def can_restrict_writing() -> bool:
    """Whether `restrict_writing` closes anything here."""
    return abi() >= ABI_THAT_KNOWS_TRUNCATION


def restrict_writing(roots: Iterable[str], devices: Iterable[str]) -> bool:
    """Closes all writing outside of the roots and the devices, for this process and its descendants, for good; reading
    and the network stay open. False, and nothing is closed, where the kernel cannot keep files from being emptied.
    Raises OSError."""
    if not can_restrict_writing():
        return False
    ruleset = syscall(_CREATE_RULESET, _Ruleset(handled_access_fs=_WRITING), 8, 0)
    try:
        _allow(ruleset, roots, _WRITING & ~_NODES)
        _allow(ruleset, devices, _WRITE_FILE | _TRUNCATE)
        _enter(ruleset)
    finally:
        os.close(ruleset)
    return True


def _enter(ruleset: int) -> None:
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    syscall(_RESTRICT_SELF, ruleset, 0)


def _hold_own_process() -> None:
    """Keeps the kernel's entries for this process in memory until it ends. A rule holds for an entry, not for its name:
    when memory is short the kernel drops those of /proc that nobody has open, and no rule knows the next ones."""
    for path in (_PROCESS, _THREADS):
        with suppress(OSError):
            os.open(path, os.O_PATH | os.O_CLOEXEC)


def _ruleset(version: int, handled: int) -> tuple[_Ruleset, int]:
    """The attributes and how many of their bytes this version of the kernel takes."""
    attributes = _Ruleset(handled_access_fs=handled)
    if version < 4:
        return attributes, 8
    attributes.handled_access_net = _NET_BIND_TCP | _NET_CONNECT_TCP
    if version < 6:
        return attributes, 16
    attributes.scoped = _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL
    return attributes, 24


def _allow(ruleset: int, paths: Iterable[str], access: int) -> None:
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                rights = access if stat.S_ISDIR(os.fstat(descriptor).st_mode) else access & _FILE_ONLY
                syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, _PathBeneath(rights, descriptor), 0)
            finally:
                os.close(descriptor)
