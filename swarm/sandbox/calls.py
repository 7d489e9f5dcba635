"""The system calls that a training never needs, with their numbers on the two architectures we run on.

Numbers from the kernel's asm/unistd_64.h (x86_64) and asm-generic/unistd.h (aarch64); 0 = there is no such call there.
"""

import platform
from dataclasses import dataclass

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Refused outright: name, x86_64, aarch64.
_REFUSED = (
    # Reaching into other processes, or around the file rules.
    ("ptrace", 101, 117), ("process_vm_readv", 310, 270), ("process_vm_writev", 311, 271),
    ("process_madvise", 440, 440), ("kcmp", 312, 272), ("pidfd_getfd", 438, 438), ("open_by_handle_at", 304, 265),
    ("io_uring_setup", 425, 425), ("io_uring_enter", 426, 426), ("io_uring_register", 427, 427),
    # Modes, owners and attributes of files outside: Landlock does not cover them.
    ("chmod", 90, 0), ("fchmod", 91, 52), ("fchmodat", 268, 53), ("fchmodat2", 452, 452),
    ("chown", 92, 0), ("lchown", 94, 0), ("fchown", 93, 55), ("fchownat", 260, 54),
    ("setxattr", 188, 5), ("lsetxattr", 189, 6), ("fsetxattr", 190, 7), ("setxattrat", 463, 463),
    ("removexattr", 197, 14), ("lremovexattr", 198, 15), ("fremovexattr", 199, 16), ("removexattrat", 466, 466),
    ("file_setattr", 469, 469),
    # Mounts and namespaces.
    ("mount", 165, 40), ("umount2", 166, 39), ("pivot_root", 155, 41), ("chroot", 161, 51), ("fsopen", 430, 430),
    ("fsconfig", 431, 431), ("fsmount", 432, 432), ("fspick", 433, 433), ("move_mount", 429, 429),
    ("open_tree", 428, 428), ("open_tree_attr", 467, 467), ("mount_setattr", 442, 442), ("setns", 308, 268),
    ("unshare", 272, 97),
    # The kernel itself, its keys and its clocks (a clock that can be set is a budget that can be stretched).
    ("bpf", 321, 280), ("perf_event_open", 298, 241), ("userfaultfd", 323, 282), ("keyctl", 250, 219),
    ("add_key", 248, 217), ("request_key", 249, 218), ("init_module", 175, 105), ("finit_module", 313, 273),
    ("delete_module", 176, 106), ("kexec_load", 246, 104), ("kexec_file_load", 320, 294), ("reboot", 169, 142),
    ("swapon", 167, 224), ("swapoff", 168, 225), ("quotactl", 179, 60), ("quotactl_fd", 443, 443), ("acct", 163, 89),
    ("settimeofday", 164, 170), ("clock_settime", 227, 112), ("clock_adjtime", 305, 266), ("adjtimex", 159, 171),
    ("sethostname", 170, 161), ("setdomainname", 171, 162), ("syslog", 103, 116), ("iopl", 172, 0),
    ("ioperm", 173, 0),
)  # fmt: skip

_AF_UNIX = 1
_LOCK_UN = 8


@dataclass(frozen=True)
class OnlyWith:
    """Refused unless the argument has this value."""

    number: int
    argument: int
    value: int


@dataclass(frozen=True)
class PretendWith:
    """Answered with success, and not executed, when the argument has this bit."""

    number: int
    argument: int
    bit: int


def machine() -> str:
    """`x86_64` or `aarch64`, as `platform.machine` spells it elsewhere too."""
    return {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())


def refused(architecture: str) -> tuple[int, ...]:
    x86 = _is_x86(architecture)
    numbers = (on_x86 if x86 else on_arm for _, on_x86, on_arm in _REFUSED)
    return tuple(number for number in numbers if number)


def conditional(architecture: str) -> tuple[OnlyWith | PretendWith, ...]:
    """Sockets of this machine only; priorities and limits of oneself only; a lease cannot be given up early.

    `flock(LOCK_UN)` on an inherited descriptor would release the lease under the feet of the whole tree. Locks end
    when their file is closed, which is what lock libraries do right after.
    """
    x86 = _is_x86(architecture)
    return (
        OnlyWith(41 if x86 else 198, argument=0, value=_AF_UNIX),  # socket(domain, ...)
        OnlyWith(141 if x86 else 140, argument=1, value=0),  # setpriority(which, who, ...)
        OnlyWith(302 if x86 else 261, argument=0, value=0),  # prlimit64(pid, ...)
        PretendWith(73 if x86 else 32, argument=1, bit=_LOCK_UN),  # flock(fd, operation)
    )


def _is_x86(architecture: str) -> bool:
    return architecture == "x86_64"
