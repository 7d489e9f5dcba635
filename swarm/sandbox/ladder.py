"""The ladder: as much isolation as this machine offers, and an honest report of how much that was."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from swarm.errors import SandboxError
from swarm.sandbox import identity, landlock, namespaces, seccomp
from swarm.sandbox.calls import Needs
from swarm.sandbox.policy import Mode, Network, SandboxPolicy, SandboxReport, level_of

STRICT_ABI = 3
"""Least Landlock version of `strict`: below it a file outside can still be emptied by truncation."""
_TCP_ABI = 4
_SCOPE_ABI = 6


def probe() -> SandboxReport:
    """What `apply` would reach here, for files that others may read. Changes nothing."""
    has_namespaces = namespaces.available()
    return _report(landlock.abi(), seccomp.available(), has_namespaces, has_namespaces and _can_switch())


def apply(
    policy: SandboxPolicy, mode: Mode, *, folder: str = "/", report_left: Callable[[int], None] = lambda left: None
) -> SandboxReport:
    """Confines the caller and all its descendants, for good, and says how far.

    Where namespaces can be had it returns in a new process inside them; this one then only waits, tells `report_left`
    how many processes the new one has left behind, and ends as it did. `folder`: of the trial, by which its user is
    chosen. `auto` takes what there is, `none` nothing. `strict` raises SandboxError, naming what is missing. Raises
    SandboxError too when a step that this machine offers fails: a half-applied sandbox is never reported as a lower
    level.
    """
    if mode == "none":
        return SandboxReport(level="none", detail="switched off")
    if mode == "strict":
        require(probe())
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    if threads != 1:
        raise SandboxError(f"the sandbox needs a process with 1 thread, this one has {threads}: others stay outside.")
    abi, has_seccomp, has_namespaces = landlock.abi(), seccomp.available(), namespaces.available()
    user, closed = None, ""
    try:
        if identity.can_become(identity.user_for(folder)):
            closed = _closed_to_others(policy, by_path=not has_namespaces)
            user = None if closed else identity.user_for(folder)
        if user is not None:
            identity.hand_over(policy.own, user)
        if has_namespaces:
            namespaces.enter(policy, report_left)
        identity.become(user)
        if has_namespaces:
            policy = replace(policy, write=(*policy.write, namespaces.SHARED_MEMORY))
        if abi:
            abi = landlock.restrict(policy)
        if has_seccomp:
            apart = has_namespaces or user is not None or abi >= _SCOPE_ABI
            needs = Needs(policy.processes, policy.gpu, has_namespaces, None if apart else os.getpid())
            seccomp.restrict(needs)
    except OSError as error:
        raise SandboxError(f"the sandbox failed: {error}. --sandbox none runs without it.") from error
    return _report(abi, has_seccomp, has_namespaces, user is not None, closed)


def require(report: SandboxReport) -> None:
    """Raises SandboxError when `report` is less than what `strict` promises: seccomp, and files closed by Landlock or
    by a root of one's own."""
    missing = []
    if report.landlock_abi < STRICT_ABI and not report.namespaces:
        found = f"version {report.landlock_abi}" if report.landlock_abi else "none"
        missing.append(
            f"Landlock version {STRICT_ABI} or later (found: {found}; Linux 6.2 with lsm=landlock has it) or namespaces"
        )
    if not report.seccomp:
        missing.append("a seccomp filter (x86_64 or aarch64, and a container that permits seccomp)")
    if missing:
        raise SandboxError(f"--sandbox strict needs {' and '.join(missing)}. --sandbox auto takes what there is.")


def _can_switch() -> bool:
    return identity.can_become(identity.user_for("/"))


def _closed_to_others(policy: SandboxPolicy, *, by_path: bool) -> str:
    """What a user of the candidate's own could not open although it must, such as a device node of the driver; empty
    when there is nothing. Then the candidate stays ours, one rung lower, and its record says why."""
    ours = (*policy.own, *policy.write)
    outside = [path for path in policy.read if path not in ours and not path.startswith("/proc/")]
    closed = identity.closed_to_others(outside, by_path=by_path)
    closed = closed or identity.closed_to_others(policy.devices, by_path=by_path, write=True)
    above = [str(Path(path).parent) for path in ours] if by_path else []
    return closed or identity.closed_to_others(above, by_path=True)


def _report(abi: int, has_seccomp: bool, has_namespaces: bool, other_user: bool, held_by: str = "") -> SandboxReport:
    closed = has_seccomp or has_namespaces
    network: Network = "denied" if closed else "tcp_denied" if abi >= _TCP_ABI else "open"
    gaps = [
        (abi < 1 and not has_namespaces, "files are open"),
        (1 <= abi < STRICT_ABI and not has_namespaces, "files outside can be truncated"),
        (not has_seccomp, "no system call is filtered"),
        (network != "denied", "UDP is open" if network == "tcp_denied" else "the network is open"),
        (abi < _SCOPE_ABI and not closed, "processes outside can be signalled"),
    ]
    parts = ["namespaces" if has_namespaces else "no namespaces"]
    parts += ["a user of its own"] if other_user else []
    parts += [f"no user of its own, to whom {held_by} would be closed"] if held_by else []
    parts.append(f"Landlock {abi}" if abi else "no Landlock")
    parts += ["system calls by a list"] if has_seccomp else []
    parts += [text for open_gap, text in gaps if open_gap]
    level = level_of(namespaces=has_namespaces, other_user=other_user, landlock=abi > 0, seccomp=has_seccomp)
    return SandboxReport(level, abi, has_seccomp, has_namespaces, other_user, network, "; ".join(parts))
