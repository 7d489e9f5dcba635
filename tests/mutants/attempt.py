"""Tests in a copy of the tree, each time in a fork of a process that has pytest and nothing of ours imported.

A switch may leave processes behind, or hang: a keeper adopts all that the tests start, ends it at the deadline, and
leaves nothing running.
"""

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import hypothesis  # noqa: F401 - what most tests import is imported once
import psutil
import pydantic  # noqa: F401
import pytest

LIMIT_S = 420.0
_POLL_S = 0.02
_DEATH_SIGNAL, _SUBREAPER = 1, 36
_OPTIONS = (
    *("-o", "addopts=", "-q", "--strict-markers", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # of what is imported once, above
    *("-W", "default::pytest.PytestUnraisableExceptionWarning"),  # a socket that is left over is no test's answer
)
_OURS = {str(Path(__file__).parents[up]) for up in range(3)}
"""The tree that this file is of: its modules must not be imported in place of the copy's."""


@dataclass(frozen=True)
class Outcome:
    """What became of the tests, by their ids. `broken`: why they could not be run at all, or empty."""

    failed: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    broken: str = ""
    seconds: float = 0.0


class Attempt:
    """Started when made; `poll` until there is an outcome. Must be made in a process with one thread."""

    def __init__(self, folder: Path, tests: Sequence[str], report: Path) -> None:
        self._report = report
        self._log = report.with_suffix(".log")
        self._started = time.monotonic()
        self._keeper = _forked(self._log, lambda: _keep(folder, tests, self._report, self._log))

    def poll(self) -> Outcome | None:
        if os.waitpid(self._keeper, os.WNOHANG)[0] == 0:
            return None
        seconds, log = time.monotonic() - self._started, self._log.read_text(errors="replace")
        try:
            found = json.loads(self._report.read_text())
        except (OSError, ValueError):
            return Outcome(broken=f"no report within {LIMIT_S:.0f} s\n{log[-1500:]}", seconds=seconds)
        finally:
            self._report.unlink(missing_ok=True)
        broken = log[-3000:] if found.pop("broken") else ""
        return Outcome(**{kind: tuple(names) for kind, names in found.items()}, broken=broken, seconds=seconds)


def _forked(log: Path, work: Callable[[], None]) -> int:
    """The pid of a process that does the work and ends; it never returns into its parent's code."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - the border of the process
            log.write_text(traceback.format_exc())
        finally:
            os._exit(0)
    return pid


def _keep(folder: Path, tests: Sequence[str], report: Path, log: Path) -> None:
    """Waits for the tests, then ends whatever they have left."""
    os.setsid()
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)  # of the process that tries the rows
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    child = _forked(log, lambda: _run_pytest(folder, tests, report, log))
    deadline, running = time.monotonic() + LIMIT_S, True
    while running and not stopped and time.monotonic() < deadline:
        running = child not in _reap()
        time.sleep(_POLL_S)
    while left := psutil.Process().children(recursive=True):
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        _reap()
        time.sleep(_POLL_S)


def _reap() -> list[int]:
    ended = []
    with suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            ended.append(pid)
    return ended


def _run_pytest(folder: Path, tests: Sequence[str], report: Path, log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    os.environ.pop("PYTEST_ADDOPTS", None)
    sys.path[:] = [str(folder), *(entry for entry in sys.path if entry not in _OURS)]
    noted = _Notes()
    own = f"--basetemp={report.with_suffix('.tmp')}"
    code = pytest.main([*_OPTIONS, own, *(f"tests/{test}" for test in tests)], plugins=[noted])
    sys.stdout.flush()
    noted.broken = noted.broken or code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    report.write_text(json.dumps(noted.__dict__))


class _Notes:
    """A plugin that keeps the ids."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.passed: list[str] = []
        self.skipped: list[str] = []
        self.broken = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.removeprefix("tests/")
        if report.failed and name not in self.failed:
            self.failed.append(name)
        elif report.skipped:
            self.skipped.append(name)
        elif report.passed and report.when == "call":
            self.passed.append(name)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.broken = self.broken or report.failed
