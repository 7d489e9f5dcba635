"""The sandbox: what no code of a candidate reaches, rung by rung."""

from mutants.safeguard import Edit, Safeguard

_CALLS = "swarm/sandbox/test_calls.py::"
_INSIDE = "swarm/sandbox/test_sandbox.py::"
_LADDER = "swarm/sandbox/ladder.py"


def _let(group: str, name: str, x86: int, arm: int) -> Safeguard:
    """One more call in the list."""
    return Safeguard(
        f"calls-{name}",
        f"no call by which a candidate could {group}",
        Edit(
            "swarm/sandbox/calls.py", "_MEMORY: _Calls = (\n", f'_MEMORY: _Calls = (\n    ("{name}", {x86}, {arm}),\n'
        ),
        (f"{_CALLS}test_nobody_is_let",),
    )


def _rule(name: str, what: str, old: str, new: str, test: str) -> Safeguard:
    return Safeguard(name, what, Edit("swarm/sandbox/calls.py", old, new), (f"{_CALLS}{test}",))


def _inside(name: str, what: str, file: str, old: str, new: str, *tests: str) -> Safeguard:
    return Safeguard(name, what, Edit(f"swarm/sandbox/{file}", old, new), tuple(f"{_INSIDE}{test}" for test in tests))


ROWS = (
    _let("reach into another process", "ptrace", 101, 117),
    _let("reach into another process's memory", "process_vm_readv", 310, 270),
    _let("take another process's descriptors", "pidfd_getfd", 438, 438),
    _let("go around the rules for files", "io_uring_setup", 425, 425),
    _let("open files by their handles", "open_by_handle_at", 304, 265),
    _let("change a file's mode", "fchmodat", 268, 53),
    _let("change a file's owner", "fchownat", 260, 54),
    _let("hide something in a file's attributes", "setxattr", 188, 5),
    _let("mount", "mount", 165, 40),
    _let("make namespaces of its own", "unshare", 272, 97),
    _let("put programs into the kernel", "bpf", 321, 280),
    _let("use the kernel's keys", "keyctl", 250, 219),
    _let("set a clock", "clock_settime", 227, 112),
    _let("take cores that are not its own", "sched_setaffinity", 203, 122),
    _let("leave memory that outlives it", "shmget", 29, 194),
    _let("leave a queue that outlives it", "mq_open", 240, 180),
    _let("become somebody else", "setresuid", 117, 147),
    _let("take capabilities", "capset", 126, 91),
    _let("watch what others do with files", "inotify_init1", 294, 26),
    Safeguard(
        "calls-by-a-list",
        "a call that is in no list is refused",
        Edit(
            "swarm/sandbox/seccomp.py",
            "    return [*program, _Instruction(_RETURN, 0, 0, _REFUSE)]\n",
            "    return [*program, _Instruction(_RETURN, 0, 0, _RET_ALLOW)]\n",
        ),
        (f"{_CALLS}test_nobody_is_let",),
    ),
    Safeguard(
        "calls-that-are-new",
        "a call that nobody has thought about does not exist",
        Edit(
            "swarm/sandbox/seccomp.py",
            "_Instruction(_IF_AT_LEAST, 0, 1, calls.NEWEST)",
            "_Instruction(_IF_AT_LEAST, 0, 1, 1 << 29)",
        ),
        (f"{_CALLS}test_a_call_that_nobody_has_thought_about_does_not_exist",),
    ),
    Safeguard(
        "calls-of-another-architecture",
        "calls of another architecture do not slip through",
        Edit(
            "swarm/sandbox/seccomp.py",
            "_Instruction(_IF_EQUAL, 1, 0, calls.AUDIT_ARCH[architecture])",
            "_Instruction(_IF_AT_LEAST, 1, 0, 0)",
        ),
        (f"{_CALLS}test_calls_of_another_architecture_end_the_process",),
    ),
    Safeguard(
        "calls-x32",
        "nor those of x32",
        Edit(
            "swarm/sandbox/seccomp.py",
            "_Instruction(_IF_AT_LEAST, 0, 1, _X32_BIT)",
            "_Instruction(_IF_AT_LEAST, 0, 1, 0xFFFFFFFF)",
        ),
        (f"{_CALLS}test_calls_of_another_architecture_end_the_process",),
    ),
    _rule(
        "calls-sockets",
        "no socket but of this machine",
        'found.append(Rule(at["socket"], 0, _WORD, (_AF_UNIX,)))',
        "pass",
        "test_no_socket_by_a_name_where_the_network_is_not_ones_own",
    ),
    _rule(
        "calls-sockets-by-name",
        "no socket by a name where the network is not one's own",
        "    groups += [_SOCKETS] if needs.sockets else []\n",
        "    groups += [_SOCKETS]\n",
        "test_no_socket_by_a_name_where_the_network_is_not_ones_own",
    ),
    _rule(
        "calls-datagrams",
        "a pair of sockets sends nothing elsewhere",
        '        Rule(at["socketpair"], 1, _SOCK_TYPES, (_SOCK_STREAM, _SOCK_SEQPACKET)),',
        "       ",
        "test_a_pair_of_sockets_sends_nothing_elsewhere",
    ),
    _rule(
        "calls-limits-of-others",
        "the limits of other processes stay as they are",
        '        Rule(at["prlimit64"], 0, _WORD, (0,)),',
        "       ",
        "test_limits_of_others_and_the_lease_stay_as_they_are",
    ),
    _rule(
        "calls-setpriority",
        "a process may sink itself and nobody else",
        '        Rule(at["setpriority"], 0, _WORD, (0,), zero=1),  # setpriority(PRIO_PROCESS, oneself): the kernel lets it sink\n',
        '        Rule(at["setpriority"], 0, _WORD, (0,)),\n',
        "test_a_process_may_sink_itself_and_nobody_else",
    ),
    _rule(
        "calls-lease",
        "a lease cannot be given up early",
        '        Rule(at["flock"], 1, _LOCK_UN if needs.gpu else 0, (_LOCK_UN if needs.gpu else 0,), "pretend"),\n',
        "",
        "test_limits_of_others_and_the_lease_stay_as_they_are",
    ),
    _rule(
        "calls-prctl",
        "a process changes nothing of itself by which it could be let out or looked into",
        '        Rule(at["prctl"], 0, _WORD, _PRCTL),\n',
        "",
        "test_what_prctl_may_not_change",
    ),
    _rule(
        "calls-fcntl",
        "no signals and leases by descriptors",
        '        Rule(at["fcntl"], 1, _WORD, (*_FCNTL, *(_FCNTL_LOCKS if needs.gpu else ()))),\n',
        "",
        "test_a_terminal_cannot_be_typed_into_nor_a_signal_sent_by_a_descriptor",
    ),
    _rule(
        "calls-ioctl",
        "nothing is typed into a terminal",
        '        found.append(Rule(at["ioctl"], 1, _WORD, _IOCTL))\n',
        "",
        "test_a_terminal_cannot_be_typed_into_nor_a_signal_sent_by_a_descriptor",
    ),
    _rule(
        "calls-uncounted-memory",
        "no memory that no limit counts",
        '        found.append(Rule(at["mmap"], 3, _MAP_SHARED_ANONYMOUS, (_MAP_SHARED_ANONYMOUS,), "refuse"))\n',
        "",
        "test_memory_that_no_limit_counts_is_refused_on_a_cpu",
    ),
    _rule(
        "calls-uncounted-children",
        "no children where their work is not counted",
        "    groups += [_CHILDREN] if needs.processes else []\n",
        "    groups += [_CHILDREN]\n",
        "test_children_are_refused_where_their_work_is_not_counted",
    ),
    _rule(
        "calls-uncounted-clones",
        "nor by clone",
        'found.append(Rule(at["clone"], 0, _CLONE_FOREIGN | _CLONE_THREAD, (_CLONE_THREAD,)))',
        'found.append(Rule(at["clone"], 0, _CLONE_FOREIGN, (0,)))',
        "test_children_are_refused_where_their_work_is_not_counted",
    ),
    _rule(
        "calls-clone3",
        "clone3, whose flags nobody can look at, does not exist",
        "CLONE3 = 435\n",
        "CLONE3 = 469\n",
        "test_children_are_refused_where_their_work_is_not_counted",
    ),
    _rule(
        "calls-child-namespaces",
        "no child in other namespaces",
        "_CLONE_FOREIGN = 0x7E028080 | 0x00002000",
        "_CLONE_FOREIGN = 0x00002000",
        "test_no_child_in_other_namespaces",
    ),
    _rule(
        "calls-signals",
        "signals reach oneself only, where nothing else keeps them from others",
        '        found += [Rule(at[name], 0, _WORD, (needs.only_pid,)) for name in ("kill", "tgkill")]\n',
        "",
        "test_signals_reach_oneself_where_nothing_else_keeps_them_from_others",
    ),
    _inside(
        "files-by-landlock",
        "files that no rule grants are closed",
        "ladder.py",
        "            abi = landlock.restrict(policy)\n",
        "            pass\n",
        "test_labels_are_out_of_reach_by_every_path",
    ),
    _inside(
        "files-by-a-root-of-ones-own",
        "files that nobody bound are not there",
        "namespaces.py",
        "    unmount(_OLD, _MNT_DETACH)\n    Path(_OLD).rmdir()\n",
        '    mount(f"{_OLD}/tmp", "/tmp", None, _MS_BIND | _MS_REC)\n    unmount(_OLD, _MNT_DETACH)\n    Path(_OLD).rmdir()\n',
        "test_labels_are_out_of_reach_by_every_path",
    ),
    _inside(
        "namespaces-found-by-a-supervisor",
        "a supervisor that is closed to its own user does not take namespaces for refused",
        "namespaces.py",
        "            prctl(PR_SET_DUMPABLE, 1)  # a supervisor is not, and its own /proc/self is closed to it then\n",
        "",
        "test_an_ordinary_users_supervisor_finds_the_namespaces_that_its_phases_may_make",
    ),
    _inside(
        "root-read-only",
        "nothing is written into a root of one's own",
        "namespaces.py",
        '    _set_attributes("/", _ATTR_RDONLY, recursive=False)\n',
        "",
        "test_a_root_of_its_own_is_read_only_but_for_what_it_may_write",
    ),
    _inside(
        "readable-is-not-writable",
        "what may be read may not be written, by namespaces alone",
        "namespaces.py",
        "        (policy.read, _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV),\n",
        "        (policy.read, _ATTR_NOSUID | _ATTR_NODEV),\n",
        "test_a_root_of_its_own_is_read_only_but_for_what_it_may_write",
    ),
    *(
        _inside(
            f"namespace-{name}",
            f"a candidate has {what} of its own",
            "namespaces.py",
            "_NEWPID | _NEWIPC | _NEWNET | _NEWNS | _NEWUTS\n",
            f"(_NEWPID | _NEWIPC | _NEWNET | _NEWNS | _NEWUTS) & ~{flag}\n",
            "test_nothing_outside_is_in_its_namespaces",
        )
        for name, flag, what in (
            ("ipc", "_NEWIPC", "shared memory and queues"),
            ("net", "_NEWNET", "a network"),
            ("uts", "_NEWUTS", "a name of the machine"),
        )
    ),
    _inside(
        "capabilities-given-up",
        "root's capabilities are given up",
        "identity.py",
        "    syscall(_CAPSET[calls.machine()], _Header(version=_CAPABILITY_VERSION_3), _Sets())\n",
        "",
        "test_nobody_inside_has_a_capability_or_can_gain_one",
    ),
    _inside(
        "capabilities-out-of-reach",
        "and cannot be had again",
        "identity.py",
        "            prctl(PR_CAPBSET_DROP, capability)\n",
        "            pass\n",
        "test_nobody_inside_has_a_capability_or_can_gain_one",
    ),
    Safeguard(
        "no-new-privileges",
        "no program with another owner's rights gives them",
        (
            Edit("swarm/sandbox/landlock.py", "    prctl(PR_SET_NO_NEW_PRIVS, 1)\n", ""),
            Edit("swarm/sandbox/seccomp.py", "    prctl(PR_SET_NO_NEW_PRIVS, 1)\n", ""),
        ),
        (f"{_INSIDE}test_nobody_inside_has_a_capability_or_can_gain_one",),
    ),
    _inside(
        "user-of-its-own",
        "where we are root a trial has a user of its own",
        "identity.py",
        "        os.setresuid(user, user, user)\n",
        "",
        "test_where_we_are_root_a_trial_has_a_user_of_its_own",
    ),
    _inside(
        "groups-of-its-own",
        "and none of root's groups",
        "identity.py",
        "        os.setgroups([])\n        os.setresgid(user, user, user)\n",
        "",
        "test_where_we_are_root_a_trial_has_a_user_of_its_own",
    ),
    _inside(
        "signals-stay-inside",
        "no process outside can be signalled, by Landlock alone",
        "landlock.py",
        "    attributes.scoped = _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL\n",
        "    attributes.scoped = _SCOPE_ABSTRACT_UNIX_SOCKET\n",
        "test_nothing_outside_is_written_changed_or_signalled",
    ),
    _inside(
        "shared-memory-closed",
        "nothing is left in the machine's shared memory",
        "policy.py",
        "        write=write,\n",
        '        write=(*write, "/dev/shm"),\n',
        "test_nothing_can_be_left_in_shared_memory_for_the_next_trial",
    ),
    _inside(
        "one-thread",
        "a process with threads is refused, since they would stay outside",
        "ladder.py",
        "    if threads != 1:\n",
        "    if False:\n",
        "test_a_process_with_threads_is_refused",
    ),
    _inside(
        "strict-needs-files",
        "strict refuses a machine that cannot close files",
        "ladder.py",
        "    if report.landlock_abi < STRICT_ABI and not report.namespaces:\n",
        "    if False:\n",
        "test_strict_names_what_is_missing",
    ),
    _inside(
        "strict-needs-a-filter",
        "strict refuses a machine that cannot filter calls",
        "ladder.py",
        "    if not report.seccomp:\n",
        "    if False:\n",
        "test_strict_names_what_is_missing",
    ),
    _inside(
        "level-recorded",
        "no more is claimed than was reached",
        "ladder.py",
        "    return _report(abi, has_seccomp, has_namespaces, user is not None, closed)\n",
        "    return _report(abi, has_seccomp, False, user is not None, closed)\n",
        "test_the_level_reached_is_recorded",
    ),
)
