"""One call: its minutes, its commands, and the loop over the steps."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evening_results import Results

Value = str | float | int | bool | None
Figures = dict[str, Value]
LEAST_S = 15.0  # of what is left, below which nothing is begun
RESERVE_S = 5.0  # for the figure and the table


class StepFailed(Exception):
    """What a step was to show is not so, or a command of it failed."""


class TimeIsUp(Exception):
    """The call's minutes are over. The step is run again by the next call."""


@dataclass(frozen=True)
class Step:
    """`limit_s`: what it may take at most; it is ended then, and counts as failed."""

    name: str
    limit_s: float
    run: Callable[["Evening"], Figures]


@dataclass(frozen=True)
class Said:
    code: int
    text: str
    seconds: float


class Evening:
    """Where everything is, and until when."""

    def __init__(self, root: Path, folder: Path, device: str, *, short: bool, minutes: float) -> None:
        self.root, self.folder, self.device, self.short, self.minutes = root, folder, device, short, minutes
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ends_s = time.monotonic() + 60.0 * minutes
        self._step_ends_s = self._ends_s

    def run(self, steps: Sequence[Step], results: "Results") -> None:
        results.begin_call(self.minutes, [step.name for step in steps])
        for number, step in enumerate(steps, 1):
            if results.is_done(step.name):
                continue
            if self._left_s() < LEAST_S:
                break
            print(f"[{number}/{len(steps)}] {step.name}", file=sys.stderr, flush=True)
            self._step_ends_s = min(self._ends_s - RESERVE_S, time.monotonic() + step.limit_s)
            self._take(step, results)
        results.end_call()

    def _take(self, step: Step, results: "Results") -> None:
        """One step, and its result. Cut off by the end of the call it has none, and comes again."""
        began_s = time.monotonic()
        try:
            figures = step.run(self)
        except StepFailed as why:
            results.note(step.name, "failed", time.monotonic() - began_s, {}, str(why))
        except TimeIsUp:
            if time.monotonic() - began_s >= step.limit_s - 1.0:
                text = f"not done within its limit of {step.limit_s:.0f} s"
                results.note(step.name, "failed", time.monotonic() - began_s, {}, text)
        else:
            results.note(step.name, "ok", time.monotonic() - began_s, figures)

    def command(
        self, arguments: Sequence[str], *, cwd: Path | None = None, log: str = "commands", more: Mapping[str, str] = {}
    ) -> Said:
        """Runs one to its end, or until the step's time is up; then its whole session is killed. Raises TimeIsUp."""
        (said,) = self.commands([arguments], cwd=cwd, log=log, more=more)
        return said

    def commands(
        self,
        several: Sequence[Sequence[str]],
        *,
        cwd: Path | None = None,
        log: str = "commands",
        more: Mapping[str, str] = {},
    ) -> list[Said]:
        """The same for several at once."""
        began_s = time.monotonic()
        files = [self.folder / f"{log}.{place}.log" for place in range(len(several))]
        running = [self.start(one, file, cwd, more) for one, file in zip(several, files, strict=True)]
        ended: dict[int, float] = {}
        try:
            while len(ended) < len(running):
                for place, process in enumerate(running):
                    if place not in ended and process.poll() is not None:
                        ended[place] = time.monotonic() - began_s
                self.wait(0.1)
        finally:
            for process in running:
                end_session(process)
        texts = [file.read_text(encoding="utf-8", errors="replace") for file in files]
        return [Said(p.returncode, text, ended[at]) for at, (p, text) in enumerate(zip(running, texts, strict=True))]

    def start(
        self, arguments: Sequence[str], file: Path, cwd: Path | None = None, more: Mapping[str, str] = {}
    ) -> "subprocess.Popen[bytes]":
        env = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONSAFEPATH": "1", **more}
        with file.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=cwd or self.root,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, seconds: float) -> None:
        """Raises TimeIsUp."""
        if time.monotonic() + seconds > self._step_ends_s:
            raise TimeIsUp
        time.sleep(seconds)

    def _left_s(self) -> float:
        return self._ends_s - RESERVE_S - time.monotonic()


def end_session(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
