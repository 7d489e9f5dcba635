"""Runs one agent under a deadline and leaves nothing behind: `python guard.py REQUEST.json`.

A process of its own, so that it can adopt every descendant (PR_SET_CHILD_SUBREAPER) without adopting the worker's
trainings. It ends with the worker that started it, and the agent's tree with it. When the agent has ended or its time
is over: TERM to the group, a grace, KILL to the group, then KILL to every adopted descendant until none is left,
wherever it went. Standard library and psutil only; started by its path, so that nothing else of ours is imported.

Not promised: anything against a process of another user, or one that is stuck in the kernel; and, off Linux, against
a descendant that left the group and whose parent has ended.
"""

import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil  # type: ignore[import-untyped]

POLL_S = 0.02
SWEEP_LIMIT_S = 10.0

Ended = Literal["exit", "deadline", "too_much_output", "retrying", "stopped", "not_started"]
LOOKED_AT_BYTES = 4096


@dataclass(frozen=True)
class Request:
    """What to run; the guard's own environment is the agent's."""

    argv: list[str]
    cwd: str
    stdin: str  # files
    stdout: str
    stderr: str
    report: str
    deadline_s: float
    grace_s: float  # between TERM and KILL
    max_output_bytes: int
    parent_pid: int
    gives_up: str = ""  # a pattern; once it is at the end of what the agent prints, it is not waited for any longer


@dataclass(frozen=True)
class Report:
    ended: Ended
    exit_code: int | None  # negative: the signal that ended it
    seconds: float
    left_over: int  # processes that were killed after the agent itself had ended, or with it
    detail: str = ""


def main(request_path: str) -> None:
    request = Request(**json.loads(Path(request_path).read_text(encoding="utf-8")))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    _adopt_descendants(request.parent_pid)
    report = _run(request, stop)
    fresh = Path(request.report + ".new")
    fresh.write_text(json.dumps(asdict(report)), encoding="utf-8")
    fresh.replace(request.report)


def _run(request: Request, stop: threading.Event) -> Report:
    started = time.monotonic()
    try:
        agent = _start(request)
    except OSError as error:
        return Report("not_started", None, 0.0, 0, str(error))
    ended = _watch(agent, request, started + request.deadline_s, stop)
    left_over = _end(agent, request.grace_s if ended != "exit" else 0.0)
    return Report(ended, agent.returncode, time.monotonic() - started, left_over)


def _start(request: Request) -> "subprocess.Popen[bytes]":
    """No pipe that could fill, no terminal to ask on: a session of its own, and stdin at its end after the prompt."""
    with (
        Path(request.stdin).open("rb") as stdin,
        Path(request.stdout).open("wb") as stdout,
        Path(request.stderr).open("wb") as stderr,
    ):
        return subprocess.Popen(
            request.argv, cwd=request.cwd, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
        )


def _watch(agent: "subprocess.Popen[bytes]", request: Request, deadline: float, stop: threading.Event) -> Ended:
    outputs = [Path(request.stdout), Path(request.stderr)]
    given_up = re.compile(request.gives_up.encode()) if request.gives_up else None
    looked_at = [0, 0]
    while agent.poll() is None:
        if time.monotonic() >= deadline:
            return "deadline"
        sizes = [path.stat().st_size for path in outputs]
        if any(size > request.max_output_bytes for size in sizes):
            return "too_much_output"
        if given_up is not None and sizes != looked_at:
            looked_at = sizes
            if any(given_up.search(_end_of(path)) for path in outputs):
                return "retrying"
        if stop.wait(POLL_S):
            return "stopped"
    return "exit"


def _end_of(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOOKED_AT_BYTES))
        return file.read(LOOKED_AT_BYTES)


def _end(agent: "subprocess.Popen[bytes]", grace_s: float) -> int:
    if grace_s > 0:
        _signal_group(agent.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            agent.wait(grace_s)
    killed = {process.pid for process in _descendants()}
    _signal_group(agent.pid, signal.SIGKILL)
    agent.wait()  # before any other child is reaped: its exit code belongs to Popen
    limit = time.monotonic() + SWEEP_LIMIT_S
    while (left := _descendants()) and time.monotonic() < limit:
        for process in left:
            killed.add(process.pid)
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(0.005)
        _reap()
    return len(killed)


def _descendants() -> list[psutil.Process]:
    return [process for process in psutil.Process().children(recursive=True) if _alive(process)]


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _adopt_descendants(parent_pid: int) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        pr_set_pdeathsig, pr_set_child_subreaper = 1, 36
        libc.prctl(pr_set_child_subreaper, 1, 0, 0, 0)
        libc.prctl(pr_set_pdeathsig, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent_pid:
        raise SystemExit("the worker is gone")


if __name__ == "__main__":
    main(sys.argv[1])
