"""What the watchdog has done by others: each piece a process of its own with a limit, so that none can hold it up."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from swarm.pods.inside.code import study_environment
from swarm.pods.inside.home import Home, read_json, text
from swarm.pods.inside.life import Clock
from swarm.pods.inside.oom import expose
from swarm.pods.inside.processes import kill_study
from swarm.pods.inside.told import Order

CODE = Path(__file__).resolve().parents[3]
"""Where `swarm` is imported from: a folder, or the archive that came with the order."""


class Chore(Protocol):
    def poll(self) -> int | None:
        """Its exit code; None while it runs. One that is over its limit is killed and answers as such."""

    def kill(self) -> None: ...


class Chores(Protocol):
    """What the watchdog can have done. Each begins at once and goes on by itself."""

    def stop(self, limit_s: float, *, now: bool) -> Chore:
        """Ask the study to end: with its running trials, or at once."""

    def report(self, limit_s: float) -> Chore: ...

    def push(self, limit_s: float) -> Chore:
        """Results to the git remote of the order."""

    def leave(self, limit_s: float, *, keep_disk: bool) -> Chore:
        """End this pod at its provider. Exit code 0: the provider has said yes."""

    def kill_study(self) -> None:
        """Whatever of the study still runs. Does not wait."""

    def kill_all(self) -> None:
        """Everything in the pod but the caller."""


@dataclass(slots=True)
class ChildChore:
    _process: "subprocess.Popen[bytes]"
    _clock: Clock
    _ends_at: float

    def poll(self) -> int | None:
        code = self._process.poll()
        if code is None and self._clock.monotonic() >= self._ends_at:
            self.kill()
        return code

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def module_command(module: str, *arguments: str) -> list[str]:
    """One of ours in an interpreter like this one."""
    start = f"import sys; sys.path.insert(0, {str(CODE)!r}); from {module} import main; sys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-c", start, *arguments]


@dataclass(slots=True)
class PodChores:
    """Of a real pod."""

    home: Home
    order: Order
    clock: Clock
    environment: Mapping[str, str] = field(repr=False)  # holds the pod's key

    def stop(self, limit_s: float, *, now: bool) -> Chore:
        words = ["stop", "--timeout", f"{limit_s:.0f}", *(["--now"] if now else [])]
        return self._swarm(words, limit_s + 5)

    def report(self, limit_s: float) -> Chore:
        return self._swarm(["report", "--out", str(self.home.report)], limit_s)

    def push(self, limit_s: float) -> Chore:
        return self._start(module_command("swarm.pods.inside.push"), self.environment, limit_s)

    def leave(self, limit_s: float, *, keep_disk: bool) -> Chore:
        words = ["--keep-disk"] if keep_disk else []
        return self._start(module_command("swarm.pods.inside.leave", *words), self.environment, limit_s)

    def kill_study(self) -> None:
        kill_study(self.home)

    def kill_all(self) -> None:
        kill_study(self.home, everything=True)

    def _swarm(self, words: Sequence[str], limit_s: float) -> Chore:
        python = text(read_json(self.home.entry), "python") or sys.executable
        environment = study_environment(self.home, self.environment)
        return self._start([python, "-m", "swarm", *words], environment, limit_s)

    def _start(self, command: Sequence[str], environment: Mapping[str, str], limit_s: float) -> Chore:
        folder = self.home.repo if self.home.repo.is_dir() else self.home.root
        try:
            with self.home.log("watchdog").open("ab") as log:
                process = subprocess.Popen(
                    command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True,
                )  # fmt: skip
        except OSError as problem:
            self.home.say("watchdog", f"{command[:4]} cannot be started: {problem}")
            return Failed()
        expose(process.pid)
        return ChildChore(process, self.clock, self.clock.monotonic() + limit_s)


class Failed:
    """A chore that could not even begin."""

    def poll(self) -> int | None:
        return 1

    def kill(self) -> None:
        pass
