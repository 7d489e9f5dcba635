"""The ladder: as much isolation as this machine offers, and an honest report of how much that was."""

from pathlib import Path

from swarm.errors import SandboxError
from swarm.sandbox import calls, landlock, seccomp
from swarm.sandbox.policy import Mode, Network, SandboxPolicy, SandboxReport, level_of

STRICT_ABI = 3
"""Least Landlock version of `strict`: below it a file outside can still be emptied by truncation."""
_TCP_ABI = 4
_SCOPE_ABI = 6


def probe() -> SandboxReport:
    """What `apply` would reach here. Changes nothing."""
    return _report(landlock.abi(), seccomp.available())


def apply(policy: SandboxPolicy, mode: Mode) -> SandboxReport:
    """Confines this process and all its descendants, for good, and says how far.

    `auto` takes what there is, `none` nothing. `strict` raises SandboxError, naming what is missing, unless both
    Landlock (version 3 or later) and seccomp are there. Raises SandboxError too when a step that this machine offers
    fails: a half-applied sandbox is never reported as a lower level.
    """
    if mode == "none":
        return SandboxReport(level="none", detail="switched off")
    if mode == "strict":
        require(probe())
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    if threads != 1:
        raise SandboxError(f"the sandbox needs a process with 1 thread, this one has {threads}: others stay outside.")
    abi, has_seccomp = landlock.abi(), seccomp.available()
    try:
        if abi:
            abi = landlock.restrict(policy)
        if has_seccomp:
            seccomp.restrict()
    except OSError as error:
        raise SandboxError(f"the sandbox failed: {error}. --sandbox none runs without it.") from error
    return _report(abi, has_seccomp)


def require(report: SandboxReport) -> None:
    """Raises SandboxError when `report` is less than what `strict` promises."""
    missing = []
    if report.landlock_abi < STRICT_ABI:
        found = f"version {report.landlock_abi}" if report.landlock_abi else "none"
        missing.append(f"Landlock version {STRICT_ABI} or later (found: {found}; Linux 6.2 with lsm=landlock has it)")
    if not report.seccomp:
        missing.append("a seccomp filter (x86_64 or aarch64, and a container that permits seccomp)")
    if missing:
        raise SandboxError(f"--sandbox strict needs {' and '.join(missing)}. --sandbox auto takes what there is.")


def _report(abi: int, has_seccomp: bool) -> SandboxReport:
    network: Network = "denied" if has_seccomp else "tcp_denied" if abi >= _TCP_ABI else "open"
    gaps = [
        (abi < 1, "files are open"),
        (1 <= abi < STRICT_ABI, "files outside can be truncated"),
        (not has_seccomp, "no system call is filtered"),
        (network != "denied", "UDP is open" if network == "tcp_denied" else "the network is open"),
        (abi < _SCOPE_ABI, "processes outside can be signalled"),
    ]
    parts = [f"Landlock {abi}" if abi else "no Landlock"]
    if has_seccomp:
        parts.append(f"{len(calls.refused(calls.machine()))} system calls refused")
    parts += [text for open_gap, text in gaps if open_gap]
    level = level_of(landlock=abi > 0, seccomp=has_seccomp)
    return SandboxReport(level, abi, has_seccomp, network, "; ".join(parts))
