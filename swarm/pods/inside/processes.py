"""Who belongs to a pod, and the end of all of them.

In a container everything does but its first process and the caller. On a machine that is not the pod's alone it is
what descends from the entry script and from `swarm up`, what lies in the pod's folder, and what says in its environment
that it is of this pod.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from swarm.pods.inside.home import Home, read_json
from swarm.pods.inside.told import HOME_VARIABLE
from swarm.supervisor import proc

CONTAINER_VARIABLE = "SWARM_POD_CONTAINER"  # set by the image: all that runs here is the pod's
_SCANS = 20  # each finds what was forked during the one before


def alive(fields: dict[str, object], name: str) -> bool:
    """Whether the process that was written down under `name` and `name`_start still runs."""
    pid, start = fields.get(name), fields.get(f"{name}_start")
    return isinstance(pid, int) and isinstance(start, int) and proc.is_alive(pid, start)


def written_down(name: str, pid: int) -> dict[str, object]:
    """A process by pid and start time, for `alive`."""
    found = proc.read(pid)
    return {name: pid, f"{name}_start": found.starttime if found is not None else 0}


def kill_study(home: Home, *, everything: bool = False) -> None:
    """SIGKILL to what the entry script started, or with `everything` to the script too; never to the caller. Repeats
    until a look finds nobody."""
    if everything and os.environ.get(CONTAINER_VARIABLE):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(-1, signal.SIGKILL)  # spares the caller and the first process
    for _ in range(_SCANS):
        found = list(_members(home, everything=everything))
        if not found:
            return
        for process in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGKILL)


def _members(home: Home, *, everything: bool) -> Iterator[proc.Process]:
    entry = read_json(home.entry)
    script = entry.get("pid") if alive(entry, "pid") else None
    above = {pid for one in (os.getpid(), script) if isinstance(one, int) for pid in _ancestors(one)}
    spared = ({os.getpid(), script} | above) - ({script} if everything else set())
    below = {
        process.pid for pid in (script, entry.get("up")) if isinstance(pid, int) for process in proc.descendants(pid)
    }
    ours = {process.pid for process in proc.descendants(os.getpid())}
    named = {pid for name in ("pid", "up") if alive(entry, name) and isinstance(pid := entry.get(name), int)}
    for process in proc.every():
        if process.pid in spared or process.pid in ours or proc.is_zombie(process.pid):
            continue
        if process.pid in below | named or _is_in(process.pid, home.root):
            yield process


def _ancestors(pid: int) -> Iterator[int]:
    """Whoever started it: a container's first process, a person's shell. It ends when the script has."""
    while (process := proc.read(pid)) is not None and process.ppid > 0:
        pid = process.ppid
        yield pid


def _is_in(pid: int, folder: Path) -> bool:
    if proc.environ(pid).get(HOME_VARIABLE.encode()) == os.fsencode(folder):
        return True
    try:
        where = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return False
    return where == folder or folder in where.parents
