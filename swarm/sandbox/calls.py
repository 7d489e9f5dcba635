"""The system calls that a training may make, with the reason for each group. All others are refused.

Numbers from the kernel's asm/unistd_64.h (x86_64) and asm-generic/unistd.h (aarch64); NONE = there is none there.
"""

import platform
from dataclasses import dataclass
from typing import Literal

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NONE = -1

CLONE3 = 435
"""Answered as a kernel without it would, so that the C library takes `clone`, whose flags can be looked at."""
NEWEST = 470
"""Calls from this number on do not exist as far as a candidate can tell: nobody has thought about them yet."""

_Calls = tuple[tuple[str, int, int], ...]

# Memory of one's own, and where it lies.
_MEMORY: _Calls = (
    ("brk", 12, 214), ("mmap", 9, 222), ("munmap", 11, 215), ("mprotect", 10, 226), ("mremap", 25, 216),
    ("madvise", 28, 233), ("msync", 26, 227), ("membarrier", 324, 283), ("mbind", 237, 235),
    ("get_mempolicy", 239, 236), ("set_mempolicy", 238, 237),
)  # fmt: skip
# Files: which ones is Landlock's and the file system's business. Not: owners, modes, times, attributes, nodes, what
# is in the page cache (it outlives a trial), watches (inotify, fanotify), handles, and a `sync` of everything.
_FILES: _Calls = (
    ("read", 0, 63), ("write", 1, 64), ("readv", 19, 65), ("writev", 20, 66), ("pread64", 17, 67),
    ("pwrite64", 18, 68), ("preadv", 295, 69), ("pwritev", 296, 70),
    ("lseek", 8, 62), ("open", 2, NONE), ("openat", 257, 56), ("openat2", 437, 437), ("creat", 85, NONE),
    ("close", 3, 57), ("close_range", 436, 436), ("dup", 32, 23), ("dup2", 33, NONE), ("dup3", 292, 24),
    ("stat", 4, NONE), ("fstat", 5, 80), ("lstat", 6, NONE), ("newfstatat", 262, 79), ("statx", 332, 291),
    ("access", 21, NONE), ("faccessat", 269, 48), ("faccessat2", 439, 439), ("readlink", 89, NONE),
    ("readlinkat", 267, 78), ("getdents", 78, NONE), ("getdents64", 217, 61), ("getcwd", 79, 17), ("chdir", 80, 49),
    ("fchdir", 81, 50), ("rename", 82, NONE), ("renameat", 264, 38), ("renameat2", 316, 276), ("mkdir", 83, NONE),
    ("mkdirat", 258, 34), ("rmdir", 84, NONE), ("unlink", 87, NONE), ("unlinkat", 263, 35), ("link", 86, NONE),
    ("linkat", 265, 37), ("symlink", 88, NONE), ("symlinkat", 266, 36), ("truncate", 76, 45), ("ftruncate", 77, 46),
    ("fallocate", 285, 47), ("fsync", 74, 82), ("fdatasync", 75, 83),
    ("umask", 95, 166), ("statfs", 137, 43), ("fstatfs", 138, 44), ("sendfile", 40, 71), ("copy_file_range", 326, 285),
    ("flock", 73, 32), ("fcntl", 72, 25), ("ioctl", 16, 29), ("pipe", 22, NONE), ("pipe2", 293, 59),
    ("getxattr", 191, 8), ("lgetxattr", 192, 9), ("fgetxattr", 193, 10), ("listxattr", 194, 11),
    ("llistxattr", 195, 12), ("flistxattr", 196, 13),
)  # fmt: skip
# Waiting for descriptors, signals and times of one's own.
_WAITING: _Calls = (
    ("poll", 7, NONE), ("ppoll", 271, 73), ("select", 23, NONE), ("pselect6", 270, 72), ("epoll_create", 213, NONE),
    ("epoll_create1", 291, 20), ("epoll_ctl", 233, 21), ("epoll_wait", 232, NONE), ("epoll_pwait", 281, 22),
    ("epoll_pwait2", 441, 441), ("eventfd", 284, NONE), ("eventfd2", 290, 19), ("timerfd_create", 283, 85),
    ("timerfd_settime", 286, 86), ("timerfd_gettime", 287, 87), ("signalfd", 282, NONE), ("signalfd4", 289, 74),
    ("pause", 34, NONE),
)  # fmt: skip
# Reading clocks and one's own alarms. Not: setting a clock.
_CLOCKS: _Calls = (
    ("clock_gettime", 228, 113), ("clock_getres", 229, 114), ("clock_nanosleep", 230, 115), ("nanosleep", 35, 101),
    ("gettimeofday", 96, 169), ("time", 201, NONE), ("times", 100, 153), ("getitimer", 36, 102),
    ("setitimer", 38, 103), ("alarm", 37, NONE), ("timer_create", 222, 107), ("timer_settime", 223, 110),
    ("timer_gettime", 224, 108), ("timer_getoverrun", 225, 109), ("timer_delete", 226, 111),
)  # fmt: skip
# Threads, their locks, and what the scheduler thinks of them. Not: changing it.
_THREADS: _Calls = (
    ("futex", 202, 98), ("futex_waitv", 449, 449), ("set_robust_list", 273, 99), ("get_robust_list", 274, 100),
    ("rseq", 334, 293), ("set_tid_address", 218, 96), ("gettid", 186, 178), ("sched_yield", 24, 124),
    ("sched_getaffinity", 204, 123), ("sched_getparam", 143, 121), ("sched_getscheduler", 145, 120),
    ("sched_getattr", 315, 275), ("sched_get_priority_max", 146, 125), ("sched_get_priority_min", 147, 126),
    ("sched_rr_get_interval", 148, 127), ("getcpu", 309, 168), ("arch_prctl", 158, NONE), ("clone", 56, 220),
    ("exit", 60, 93), ("exit_group", 231, 94), ("getpriority", 140, 141), ("setpriority", 141, 140),
)  # fmt: skip
# Signals. Whom they reach is limited by the process namespace, by Landlock 6, by another user, or else here.
_SIGNALS: _Calls = (
    ("rt_sigaction", 13, 134), ("rt_sigprocmask", 14, 135), ("rt_sigreturn", 15, 139), ("rt_sigpending", 127, 136),
    ("rt_sigtimedwait", 128, 137), ("rt_sigsuspend", 130, 133), ("sigaltstack", 131, 132), ("kill", 62, 129),
    ("tgkill", 234, 131), ("tkill", 200, 130), ("restart_syscall", 219, 128),
)  # fmt: skip
# Who one is, and one's own limits.
_ONESELF: _Calls = (
    ("getpid", 39, 172), ("getppid", 110, 173), ("getuid", 102, 174), ("geteuid", 107, 175), ("getgid", 104, 176),
    ("getegid", 108, 177), ("getresuid", 118, 148), ("getresgid", 120, 150), ("getpgrp", 111, NONE),
    ("getpgid", 121, 155), ("getsid", 124, 156), ("getgroups", 115, 158), ("capget", 125, 90), ("uname", 63, 160),
    ("sysinfo", 99, 179), ("getrlimit", 97, 163), ("setrlimit", 160, 164), ("prlimit64", 302, 261),
    ("getrusage", 98, 165), ("prctl", 157, 167), ("getrandom", 318, 278), ("setsid", 112, 157), ("setpgid", 109, 154),
)  # fmt: skip
# Children of one's own, where their work is counted.
_CHILDREN: _Calls = (
    ("fork", 57, NONE), ("vfork", 58, NONE), ("execve", 59, 221), ("execveat", 322, 281), ("wait4", 61, 260),
    ("waitid", 247, 95),
)  # fmt: skip
# Pipes in both directions between one's own processes. Not: `socket`, `connect`, `bind`.
_PAIRS: _Calls = (
    ("socketpair", 53, 199), ("sendto", 44, 206), ("recvfrom", 45, 207), ("sendmsg", 46, 211), ("recvmsg", 47, 212),
    ("sendmmsg", 307, 269), ("recvmmsg", 299, 243), ("shutdown", 48, 210), ("getsockopt", 55, 209),
    ("setsockopt", 54, 208), ("getsockname", 51, 204), ("getpeername", 52, 205),
)  # fmt: skip
# What CUDA asks for besides; on a CPU it would be memory that no limit counts. Its start fails where it may not bind a
# socket of its own (`@cuda-uvmfd-...`, for processes that share memory) and listen there. Not: `connect`, `accept`.
_GPU: _Calls = (
    ("memfd_create", 319, 279), ("mlock", 149, 228), ("munlock", 150, 229), ("mlock2", 325, 284), ("socket", 41, 198),
    ("bind", 49, 200), ("listen", 50, 201), ("pidfd_open", 434, 434),
)  # fmt: skip
# Sockets by a name. Where all that one can name are one's own: workers of a data loader pass their batches so.
_SOCKETS: _Calls = (
    ("socket", 41, 198), ("connect", 42, 203), ("bind", 49, 200), ("listen", 50, 201), ("accept", 43, 202),
    ("accept4", 288, 242),
)  # fmt: skip

_CLONE_THREAD = 0x00010000
_CLONE_FOREIGN = 0x7E028080 | 0x00002000  # new namespaces, a parent's child, a tracer's
_MAP_SHARED_ANONYMOUS = 0x01 | 0x20
_AF_UNIX, _SOCK_STREAM, _SOCK_SEQPACKET, _SOCK_TYPES = 1, 1, 5, 0xF
_LOCK_UN, _MS_SYNC = 8, 4
_FCNTL = (0, 1, 2, 3, 4, 1030, 1032, 1033, 1034)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL; then of 1024 and up:
# F_DUPFD_CLOEXEC, F_GETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS. Not: leases, notices, owners, and byte-range locks, of which
# one file may hold millions.
_FCNTL_LOCKS = (5, 6, 7, 36, 37, 38)
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # is it a terminal, its size; bytes to read; close-on-exec
_IOCTL_FOREIGN = (0x8901, 0x8902)  # FIOSETOWN, SIOCSPGRP: signals to another process
_PRCTL = (
    1,
    2,
    3,
    15,
    16,
    21,
    23,
    29,
    30,
    38,
    39,
    41,
    42,
    0x53564D41,
)  # names, own death, slack, huge pages


@dataclass(frozen=True)
class Rule:
    """A call that depends on an argument: `inside` when `argument & mask` is one of `values`, else the other way.

    Arguments are C ints: only the low word is looked at. "pretend" answers with success and does nothing. `zero`: an
    argument that has to be 0 besides, or the call is refused.
    """

    number: int
    argument: int
    mask: int
    values: tuple[int, ...]
    inside: Literal["allow", "refuse", "pretend"] = "allow"
    zero: int | None = None


_WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class Needs:
    """What a filter is made for. `processes`: children may be started. `gpu`: CUDA runs here. `only_pid`: the one
    process that may be signalled, where nothing else keeps signals from others; None where something does.
    `sockets`: sockets of the machine are one's own, since there are no others in one's namespaces."""

    processes: bool = True
    gpu: bool = False
    sockets: bool = False
    only_pid: int | None = None


def machine() -> str:
    """`x86_64` or `aarch64`, as `platform.machine` spells it elsewhere too."""
    return {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())


def number(name: str, architecture: str) -> int:
    """The call's number; NONE where it does not exist. Raises KeyError for a name that is in no list."""
    return _column(architecture)[name]


def allowed(architecture: str, needs: Needs) -> tuple[int, ...]:
    """Calls that pass whatever their arguments are."""
    groups = [_MEMORY, _FILES, _WAITING, _CLOCKS, _THREADS, _SIGNALS, _ONESELF, _PAIRS]
    groups += [_CHILDREN] if needs.processes else []
    groups += [_GPU] if needs.gpu else []
    groups += [_SOCKETS] if needs.sockets else []
    numbers = _column(architecture)
    conditional = {rule.number for rule in rules(architecture, needs)}
    found = (numbers[name] for group in groups for name, _, _ in group)
    return tuple(number for number in found if number != NONE and number not in conditional)


def rules(architecture: str, needs: Needs) -> tuple[Rule, ...]:
    """Calls that depend on an argument. A lease cannot be given up early: `flock(LOCK_UN)` on an inherited descriptor
    would release it under the feet of the whole tree. Locks end when their file is closed, which is what lock
    libraries do right after."""
    at = _column(architecture)
    found = [
        Rule(at["socketpair"], 1, _SOCK_TYPES, (_SOCK_STREAM, _SOCK_SEQPACKET)),  # a datagram can be sent anywhere
        Rule(at["prlimit64"], 0, _WORD, (0,)),  # prlimit64(pid, ...)
        # On a CPU nothing that a trial may lock is anybody else's business. On a GPU the gate is.
        Rule(at["flock"], 1, _LOCK_UN if needs.gpu else 0, (_LOCK_UN if needs.gpu else 0,), "pretend"),
        Rule(at["setpriority"], 0, _WORD, (0,), zero=1),  # setpriority(PRIO_PROCESS, oneself): the kernel lets it sink
        # What a trial writes is thrown away or read at once: waiting for the disk would only cost its neighbours.
        Rule(at["fsync"], 0, 0, (0,), "pretend"),
        Rule(at["fdatasync"], 0, 0, (0,), "pretend"),
        Rule(at["msync"], 2, _MS_SYNC, (_MS_SYNC,), "pretend"),
        Rule(at["prctl"], 0, _WORD, _PRCTL),
        Rule(at["fcntl"], 1, _WORD, (*_FCNTL, *(_FCNTL_LOCKS if needs.gpu else ()))),
    ]
    if needs.processes:
        found.append(Rule(at["clone"], 0, _CLONE_FOREIGN, (0,)))
    else:
        found.append(Rule(at["clone"], 0, _CLONE_FOREIGN | _CLONE_THREAD, (_CLONE_THREAD,)))
    if needs.gpu or needs.sockets:
        found.append(Rule(at["socket"], 0, _WORD, (_AF_UNIX,)))
    if needs.gpu:
        found.append(Rule(at["ioctl"], 1, _WORD, _IOCTL_FOREIGN, "refuse"))
    else:
        found.append(Rule(at["ioctl"], 1, _WORD, _IOCTL))
        # Memory that RLIMIT_DATA does not count.
        found.append(Rule(at["mmap"], 3, _MAP_SHARED_ANONYMOUS, (_MAP_SHARED_ANONYMOUS,), "refuse"))
    if needs.only_pid is not None:
        found += [Rule(at[name], 0, _WORD, (needs.only_pid,)) for name in ("kill", "tgkill")]
        found.append(Rule(at["tkill"], 0, 0, ()))
    return tuple(found)


def _column(architecture: str) -> dict[str, int]:
    column = 1 if architecture == "x86_64" else 2
    common = (_MEMORY, _FILES, _WAITING, _CLOCKS, _THREADS, _SIGNALS, _ONESELF)
    return {str(row[0]): int(row[column]) for group in (*common, _CHILDREN, _PAIRS, _GPU, _SOCKETS) for row in group}
