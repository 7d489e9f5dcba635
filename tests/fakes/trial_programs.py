"""Builds trials of tiny phase modules for the supervisor's tests, and waits for them."""

import os
import textwrap
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from swarm.errors import TrialError
from swarm.supervisor import PhaseSpec, Running, TrialResult, TrialSpec, kill_leftovers, launch, proc
from swarm.trial.contract import code_root

WAIT_LIMIT_S = 30.0

_SWITCHES = {
    "namespaces": "from swarm.sandbox import namespaces\nnamespaces.available = lambda: False\n",
    "user": "from swarm.sandbox import identity\nidentity.can_become = lambda user: False\n",
    "landlock": "from swarm.sandbox import landlock\nlandlock.abi = lambda: 0\n",
    "seccomp": "from swarm.sandbox import seccomp\nseccomp.available = lambda: False\n",
    "counter": "from swarm.supervisor.counter import CpuCounter\nCpuCounter.of = classmethod(lambda cls, pid: None)\n",
}

LIST_OPEN_FILES = """
    import os
    for name in os.listdir('/proc/self/fd'):
        if os.path.lexists(f'/proc/self/fd/{name}'):  # the listing's own is closed by now
            print(os.readlink(f'/proc/self/fd/{name}'))
"""


@dataclass
class Programs:
    """A trial folder and a folder of phase modules beside it."""

    root: Path
    running: list[Running] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.root / "t0001"

    @property
    def modules(self) -> Path:
        return self.root / "modules"

    def phase(self, source: str, name: str = "train", *, trusted: bool = True, **limits: object) -> PhaseSpec:
        """A phase that runs `source`. Trusted unless told, so that a test of the tree needs no sandbox."""
        (self.modules / f"{name}_code.py").write_text(textwrap.dedent(source))
        settings: dict[str, object] = {"walltime_limit_s": 20.0, "read": (str(self.modules),), **limits}
        if not trusted and "write" not in settings:
            settings["write"] = tuple(str(self.folder / part) for part in ("program", "scratch", "train_out"))
        return PhaseSpec(name=name, module=f"{name}_code", trusted=trusted, **settings)  # type: ignore[arg-type]

    def spec(self, *phases: PhaseSpec, **settings: object) -> TrialSpec:
        values: dict[str, object] = {"term_grace_s": 0.3, "sandbox": "auto", **settings}
        return TrialSpec("study", "t0001", str(self.folder), phases, pythonpath=(str(self.modules),), **values)  # type: ignore[arg-type]

    def switch_off(self, *rungs: str) -> None:
        """Takes rungs of the sandbox's ladder away, as on a machine without them, for trials in fresh interpreters."""
        lines = "".join(_SWITCHES[rung] for rung in rungs)
        (self.modules / "sitecustomize.py").write_text(f"import sys\nsys.path.append({str(code_root())!r})\n{lines}")

    def launch(self, spec: TrialSpec, lease_fd: int | None = None, socket: Path | None = None) -> Running:
        running = launch(spec, lease_fd, socket=socket)
        self.running.append(running)
        return running

    def run(self, *phases: PhaseSpec, lease_fd: int | None = None, socket: Path | None = None, **settings: object):
        return finish(self.launch(self.spec(*phases, **settings), lease_fd, socket))

    def close(self) -> None:
        """No process of the trial is left, and none that has ended waits for us."""
        kill_leftovers(self.folder)
        for running in self.running:
            with suppress(TrialError):
                running.poll()

    def log(self, name: str = "train") -> str:
        return (self.folder / "logs" / f"{name}.log").read_text()


def finish(running: Running, limit_s: float = WAIT_LIMIT_S) -> TrialResult:
    return until(running.poll, "the trial ended", limit_s)


def until(condition, what: str, limit_s: float = WAIT_LIMIT_S):
    """The first true answer of `condition`."""
    deadline = time.monotonic() + limit_s
    while not (answer := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {limit_s} s: {what}")
        time.sleep(0.01)
    return answer


def processes_named(token: str) -> list[int]:
    """Live processes with `token` in their command line: what a test's hostile children carry."""
    found = []
    for process in proc.every():
        try:
            command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        except OSError:
            continue
        if token.encode() in command and process.pid != os.getpid() and not proc.is_zombie(process.pid):
            found.append(process.pid)
    return found
