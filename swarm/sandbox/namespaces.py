"""Namespaces of one's own: no process, message queue, network or file outside is there any more.

    supervisor
      outer   this process: waits, and ends as the innermost one ended
        init  process 1 inside: builds the root, reaps what others leave; when it ends, all inside are dead
          *   goes on in the caller: everything that follows runs here

Most rented containers refuse it: then the rest of the ladder has to do. Nothing here needs root; root needs no user
namespace for it. As bubblewrap does it, the new root is an empty file system into which the policy's paths are bound.
"""

import ctypes
import functools
import os
import signal
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from swarm.sandbox import calls
from swarm.sandbox.libc import PR_SET_DUMPABLE, PR_SET_PDEATHSIG, mount, prctl, syscall, unmount, unshare
from swarm.sandbox.policy import SandboxPolicy

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR = 442
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000

_BASE, _OLD = "/tmp", "/.outside"
SHORT_NAME = "/.scratch"
"""The policy's folder for temporary files once more: short enough for the address of a socket."""
SHARED_MEMORY = "/dev/shm"
"""A small one of its own in the new root: workers of a data loader put their batches there."""
_LINGER_S = 0.3
_STATUS = struct.Struct("<iI")  # wait status of the innermost process, processes that were left when it ended


class _MountAttributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace"))


@functools.cache
def available() -> bool:
    """Whether this process may make them; tried in a child, once in a process and those that it forks."""
    if (pid := os.fork()) == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            prctl(PR_SET_DUMPABLE, 1)  # a supervisor is not, and its own /proc/self is closed to it then
            enter(SandboxPolicy(read=("/usr",)), lambda left: None)
            code = 0 if os.getpid() == 2 else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def enter(policy: SandboxPolicy, report_left: Callable[[int], None]) -> None:
    """Returns in a new process, inside. This one waits for it, tells `report_left` how many processes it has left
    behind, and ends as it ended. Raises OSError where namespaces cannot be had, before anything has changed.

    What goes wrong later, while the root is built, ends the process with a line on stderr.
    """
    _leave_outside()
    paths = _real_paths(policy)
    here = Path.cwd()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    if (init := os.fork()) != 0:
        os.close(writing)
        _wait_outside(init, reading, report_left)
    os.close(reading)
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _build_root(paths)
        os.chdir(here if here.is_dir() else "/")
    except OSError as error:
        os.write(2, f"the namespaces could not be set up: {error}\n".encode())
        os._exit(1)
    if (innermost := os.fork()) != 0:
        _wait_as_init(innermost, writing)
    os.close(writing)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _leave_outside() -> None:
    """The new namespaces, in a user namespace where that is needed; one's own numbers stay as they are."""
    user, group, flags = os.getuid(), os.getgid(), _NEWPID | _NEWIPC | _NEWNET | _NEWNS | _NEWUTS
    if user == 0:
        with suppress(PermissionError):
            unshare(flags)
            return
    unshare(flags | _NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", name).write_text(text)


def _real_paths(policy: SandboxPolicy) -> dict[str, tuple[str, int]]:
    """Where in the new root which file or folder from outside is bound, and with which attributes. A path that leads
    through links is there under both names."""
    found: dict[str, tuple[str, int]] = {}
    for paths, attributes in (
        (policy.read, _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV),
        (policy.devices, _ATTR_NOSUID),
        (policy.write, _ATTR_NOSUID | _ATTR_NODEV),
    ):
        for path in map(Path, paths):
            if path.exists() and not path.is_relative_to("/proc"):
                real = path.resolve()
                found |= {str(path): (str(real), attributes), str(real): (str(real), attributes)}
    if policy.temporary is not None:
        found[SHORT_NAME] = (policy.temporary, _ATTR_NOSUID | _ATTR_NODEV)
    return dict(sorted(found.items()))


def _build_root(paths: dict[str, tuple[str, int]]) -> None:
    """In the new mount namespace: an empty root with /proc of the new processes and the bound paths, all else gone."""
    mask = os.umask(0o022)  # another user goes through these folders
    mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    mount("none", _BASE, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=1m,nr_inodes=2048")
    outside = Path(f"{_BASE}{_OLD}")
    outside.mkdir()
    syscall(_PIVOT_ROOT[calls.machine()], os.fsencode(_BASE), os.fsencode(outside))
    os.chdir("/")
    for name in ("/proc", "/tmp"):
        Path(name).mkdir()
    mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    for path, (real, attributes) in paths.items():
        _bind(Path(f"{_OLD}{real}"), Path(path), attributes)
    Path(SHARED_MEMORY).mkdir(parents=True)
    mount("none", SHARED_MEMORY, "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, "mode=1777,size=64m,nr_inodes=1024")
    unmount(_OLD, _MNT_DETACH)
    Path(_OLD).rmdir()
    _set_attributes("/", _ATTR_RDONLY, recursive=False)
    os.umask(mask)


def _bind(source: Path, target: Path, attributes: int) -> None:
    if not target.exists():
        if source.is_dir():
            target.mkdir(parents=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch(0o644)
    elif attributes & _ATTR_RDONLY and source.samefile(target):
        return  # bound with a folder above it
    mount(str(source), str(target), None, _MS_BIND | _MS_REC)
    _set_attributes(str(target), attributes, recursive=True)


def _set_attributes(target: str, attributes: int, *, recursive: bool) -> None:
    flags = _AT_RECURSIVE if recursive else 0
    wanted = _MountAttributes(set=attributes)
    syscall(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(target), flags, wanted, ctypes.sizeof(wanted))


def _wait_outside(init: int, reading: int, report_left: Callable[[int], None]) -> NoReturn:
    """Ends as the innermost process did: the supervisor sees one process with its exit code or signal."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    prctl(PR_SET_DUMPABLE, 0)
    _, own = os.waitpid(init, 0)
    told = os.read(reading, _STATUS.size)
    status, left = _STATUS.unpack(told) if len(told) == _STATUS.size else (own, 0)
    with suppress(OSError):
        report_left(left)
    if os.WIFSIGNALED(status):
        killer = os.WTERMSIG(status)
        if killer not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(killer, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {killer})
        os.kill(os.getpid(), killer)
    os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)


def _wait_as_init(innermost: int, writing: int) -> NoReturn:
    """Reaps until the innermost process has ended; helpers that watch their parent get a moment to end themselves."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    prctl(PR_SET_DUMPABLE, 0)
    status = 0
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == innermost:
            break
    left = _linger()
    os.write(writing, _STATUS.pack(status, left))
    os._exit(0)


def _linger() -> int:
    """How many processes are left after a moment."""
    deadline = time.monotonic() + _LINGER_S
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                if time.monotonic() > deadline:
                    return max(1, sum(entry.name.isdigit() for entry in Path("/proc").iterdir()) - 1)
                time.sleep(0.005)
        except ChildProcessError:
            return 0
