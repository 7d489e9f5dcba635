"""The list of system calls against a list of its own: what a training must never be let do, call by call.

The filter's program is run here as the kernel runs it, for both architectures, so that nothing depends on the machine.
"""

from collections.abc import Mapping

import pytest
from fakes.kernel_filter import ABSENT, ALLOW, KILL, PRETEND, REFUSE, answer

from swarm.sandbox import calls
from swarm.sandbox.calls import Needs

# Numbers from asm/unistd_64.h (x86_64) and asm-generic/unistd.h (aarch64), None where there is no such call.
FORBIDDEN: Mapping[str, Mapping[str, tuple[int | None, int | None]]] = {
    "reach into other processes": {
        "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
        "process_madvise": (440, 440), "kcmp": (312, 272), "pidfd_getfd": (438, 438),
        "pidfd_send_signal": (424, 424), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    },
    "go around the rules for files": {
        "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "io_uring_setup": (425, 425),
        "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "inotify_init1": (294, 26),
        "fanotify_init": (300, 262), "mknod": (133, None), "mknodat": (259, 33), "sync": (162, 81),
        "syncfs": (306, 267),
    },
    "change modes, owners, times and attributes": {
        "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
        "lchown": (94, None), "fchown": (93, 55), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
        "utimensat": (280, 88), "futimesat": (261, None), "setxattr": (188, 5), "lsetxattr": (189, 6),
        "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
        "setxattrat": (463, 463), "removexattrat": (466, 466), "file_setattr": (469, 469),
    },
    "mount, and change namespaces": {
        "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97),
        "setns": (308, 268), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
        "move_mount": (429, 429), "open_tree": (428, 428), "mount_setattr": (442, 442), "open_tree_attr": (467, 467),
    },
    "change the kernel, its keys and its limits": {
        "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219),
        "add_key": (248, 217), "request_key": (249, 218), "init_module": (175, 105), "finit_module": (313, 273),
        "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
        "swapon": (167, 224), "swapoff": (168, 225), "quotactl": (179, 60), "quotactl_fd": (443, 443),
        "acct": (163, 89), "sethostname": (170, 161), "setdomainname": (171, 162), "syslog": (103, 116),
        "iopl": (172, None), "ioperm": (173, None), "vhangup": (153, 58), "personality": (135, 92),
        "seccomp": (317, 277), "landlock_restrict_self": (446, 446),
    },
    "set a clock": {
        "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171),
    },
    "change how anybody is scheduled": {
        "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
        "sched_setattr": (314, 274), "sched_setaffinity": (203, 122), "ioprio_set": (251, 30),
        "migrate_pages": (256, 238), "move_pages": (279, 239),
    },
    "leave something that outlives the trial": {
        "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190), "semop": (65, 193),
        "semctl": (66, 191), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187),
        "mq_open": (240, 180), "mq_unlink": (241, 181),
    },
    "become somebody else": {
        "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
        "setresuid": (117, 147), "setresgid": (119, 149), "setgroups": (116, 159), "setfsuid": (122, 151),
        "setfsgid": (123, 152), "capset": (126, 91),
    },
}  # fmt: skip
NETWORK = {"socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept4": (288, 242)}
EVERY_NEED = [
    Needs(processes, gpu, sockets, only_pid)
    for processes in (False, True)
    for gpu in (False, True)
    for sockets in (False, True)
    for only_pid in (None, 4242)
]
MACHINES = ("x86_64", "aarch64")
EITHER = pytest.mark.parametrize("machine", MACHINES)


def number(machine: str, name: str) -> int:
    return calls.number(name, machine)


@EITHER
@pytest.mark.parametrize("what", FORBIDDEN)
def test_nobody_is_let(machine: str, what: str) -> None:
    column = MACHINES.index(machine)
    for name, numbers in FORBIDDEN[what].items():
        if (one := numbers[column]) is not None:
            for needs in EVERY_NEED:
                assert answer(machine, needs, one) == REFUSE, (name, needs)


@EITHER
def test_a_call_that_nobody_has_thought_about_does_not_exist(machine: str) -> None:
    for unknown in (470, 500, 1000):
        assert answer(machine, Needs(), unknown) == ABSENT


@EITHER
def test_calls_of_another_architecture_end_the_process(machine: str) -> None:
    read = number(machine, "read")
    assert answer(machine, Needs(), read) == ALLOW
    assert answer(machine, Needs(), read, audit=0x40000003) == KILL  # 32-bit x86
    if machine == "x86_64":
        assert answer(machine, Needs(), read | 0x40000000) == REFUSE  # x32


@EITHER
def test_no_socket_by_a_name_where_the_network_is_not_ones_own(machine: str) -> None:
    column = MACHINES.index(machine)
    for needs in (Needs(), Needs(processes=False), Needs(only_pid=1)):
        for name, numbers in NETWORK.items():
            assert answer(machine, needs, numbers[column], 1) == REFUSE, name
    for needs in (Needs(sockets=True), Needs(gpu=True)):
        for family in (2, 10, 16, 17, 40):  # IPv4, IPv6, netlink, packets, virtual machines
            assert answer(machine, needs, number(machine, "socket"), family) == REFUSE
    assert answer(machine, Needs(sockets=True), number(machine, "socket"), 1) == ALLOW
    assert answer(machine, Needs(gpu=True), number(machine, "connect")) == REFUSE


@EITHER
def test_a_pair_of_sockets_sends_nothing_elsewhere(machine: str) -> None:
    pair = number(machine, "socketpair")
    assert [answer(machine, Needs(), pair, 1, kind) for kind in (1, 2, 3, 5)] == [ALLOW, REFUSE, REFUSE, ALLOW]
    assert answer(machine, Needs(), pair, 1, 2 | 0x80000) == REFUSE  # whatever flags come with it


@EITHER
def test_children_are_refused_where_their_work_is_not_counted(machine: str) -> None:
    thread = 0x10000 | 0x100 | 0x200 | 0x400 | 0x800
    uncounted = Needs(processes=False)
    assert answer(machine, uncounted, number(machine, "clone"), thread) == ALLOW
    assert answer(machine, uncounted, number(machine, "clone"), 17) == REFUSE
    assert answer(machine, Needs(), number(machine, "clone"), 17) == ALLOW
    assert answer(machine, Needs(), 435) == ABSENT  # so that the C library takes clone
    for name in ("fork", "vfork", "execve", "execveat"):
        if (one := number(machine, name)) != calls.NONE:
            assert answer(machine, uncounted, one) == REFUSE
            assert answer(machine, Needs(), one) == ALLOW


@EITHER
@pytest.mark.parametrize("flag", [0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000])
def test_no_child_in_other_namespaces(machine: str, flag: int) -> None:
    for needs in (Needs(), Needs(processes=False), Needs(gpu=True)):
        assert answer(machine, needs, number(machine, "clone"), flag | 17) == REFUSE
        assert answer(machine, needs, number(machine, "clone"), flag | 0x10F00) == REFUSE


@EITHER
def test_limits_of_others_and_the_lease_stay_as_they_are(machine: str) -> None:
    assert answer(machine, Needs(), number(machine, "prlimit64"), 0) == ALLOW
    assert answer(machine, Needs(), number(machine, "prlimit64"), 4242) == REFUSE
    for operation in (8, 8 | 4):
        assert answer(machine, Needs(gpu=True), number(machine, "flock"), 3, operation) == PRETEND
    assert answer(machine, Needs(gpu=True), number(machine, "flock"), 3, 2) == ALLOW
    for operation in (1, 2, 8, 8 | 4):  # a lock on a file that others read too is seen by them
        assert answer(machine, Needs(), number(machine, "flock"), 3, operation) == PRETEND


@EITHER
def test_a_process_may_sink_itself_and_nobody_else(machine: str) -> None:
    assert answer(machine, Needs(), number(machine, "setpriority"), 0, 0, 5) == ALLOW
    for which, who in ((0, 1), (1, 0), (2, 0), (2, 1)):
        assert answer(machine, Needs(), number(machine, "setpriority"), which, who, 5) == REFUSE


@EITHER
def test_no_trial_waits_for_the_disk(machine: str) -> None:
    for name in ("fsync", "fdatasync"):
        assert answer(machine, Needs(), number(machine, name), 3) == PRETEND
    assert answer(machine, Needs(), number(machine, "msync"), 0, 0, 4) == PRETEND
    assert answer(machine, Needs(), number(machine, "msync"), 0, 0, 1) == ALLOW


@EITHER
def test_signals_reach_oneself_where_nothing_else_keeps_them_from_others(machine: str) -> None:
    alone = Needs(only_pid=4242)
    for name in ("kill", "tgkill"):
        assert answer(machine, alone, number(machine, name), 4242) == ALLOW
        assert answer(machine, alone, number(machine, name), 1) == REFUSE
    assert answer(machine, alone, number(machine, "tkill"), 4242) == REFUSE
    assert answer(machine, Needs(), number(machine, "kill"), 1) == ALLOW


@EITHER
def test_a_terminal_cannot_be_typed_into_nor_a_signal_sent_by_a_descriptor(machine: str) -> None:
    for command in (0x5412, 0x541D, 0x8901, 0x8902, 0x40047602):  # TIOCSTI, TIOCCONS, owners of signals, file flags
        assert answer(machine, Needs(), number(machine, "ioctl"), 0, command) == REFUSE
    for command in (0x8901, 0x8902):
        assert answer(machine, Needs(gpu=True), number(machine, "ioctl"), 0, command) == REFUSE
    for command in (8, 10, 15, 1024, 1026):  # owner, signal, owner's kind, leases, notices
        for needs in EVERY_NEED:
            assert answer(machine, needs, number(machine, "fcntl"), 0, command) == REFUSE


@EITHER
def test_memory_that_no_limit_counts_is_refused_on_a_cpu(machine: str) -> None:
    shared = 0x21
    assert answer(machine, Needs(), number(machine, "mmap"), 0, 0, 0, shared) == REFUSE
    assert answer(machine, Needs(), number(machine, "mmap"), 0, 0, 0, shared | 0x4000) == REFUSE
    assert answer(machine, Needs(), number(machine, "mmap"), 0, 0, 0, 0x22) == ALLOW
    assert answer(machine, Needs(gpu=True), number(machine, "mmap"), 0, 0, 0, shared) == ALLOW
    for name in ("memfd_create", "mlock", "mlock2"):
        assert answer(machine, Needs(), number(machine, name)) == REFUSE


@EITHER
def test_what_prctl_may_not_change(machine: str) -> None:
    for option in (4, 8, 22, 24, 28, 36, 47, 0x59616D61):  # dumpable, capabilities, filters, subreaper, who may trace
        for needs in EVERY_NEED:
            assert answer(machine, needs, number(machine, "prctl"), option) == REFUSE
