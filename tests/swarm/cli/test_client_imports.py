"""Laptops rent: what reads, watches, merges and rents needs no torch, nothing of Linux alone and no /proc.

Each command runs in a child in which those are not to be had.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from factories.records import claim, finished, study_opened
from fakes.fake_clock import FakeClock
from fakes.git_repository import make_repository

from swarm.brain import Brain
from swarm.cli.app import app
from swarm.records import Operator, StudyClosed

CODE = Path(__file__).parents[3]

ELSEWHERE = """
import builtins, importlib, io, json, os, select, signal, sys, time
import asyncio, multiprocessing, pathlib, selectors, socket, subprocess, tempfile, threading  # of Python itself

NOBODY_HAS = {"torch", "torchvision", "numpy", "optuna", "openai", "pynvml"}
WE_DO_NOT_NEED = {"fcntl", "resource", "termios", "pwd", "grp", "tty", "pty", "syslog", "ctypes"}
real_import, real_open, real_io_open = builtins.__import__, os.open, io.open

def importing(name, globals=None, locals=None, fromlist=(), level=0):
    top, importer = name.partition(".")[0], (globals or {}).get("__name__", "")
    if top in NOBODY_HAS or (top in WE_DO_NOT_NEED and importer.partition(".")[0] in ("swarm", "workers")):
        raise ModuleNotFoundError(f"{importer} imports {name}, which is not to be had on a laptop", name=top)
    return real_import(name, globals, locals, fromlist, level)

def refused(path):
    if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(("/proc", "/sys")):
        raise FileNotFoundError(2, "there is no /proc on a laptop", os.fspath(path))

def os_open(path, *more, **named):
    refused(path)
    return real_open(path, *more, **named)

def io_open(path, *more, **named):
    refused(path)
    return real_io_open(path, *more, **named)

builtins.__import__ = importing
io.open = builtins.open = io_open
os.open = os_open
for module, names in (
    (os, "sched_getaffinity sched_setaffinity pidfd_open memfd_create unshare setns eventfd splice copy_file_range"),
    (signal, "sigtimedwait sigwaitinfo pidfd_send_signal"),
    (time, "CLOCK_BOOTTIME"),
    (select, "epoll"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

from swarm.cli import main
code = 0
for words in json.loads(sys.argv[1]):
    sys.argv = ["swarm", *words]
    try:
        ended = main()
    except SystemExit as error:
        ended = error.code
    print(f"swarm {' '.join(words)}: {ended}", file=sys.stderr)
    code = code or ended
sys.exit(code)
"""

READS = (
    ["status"],
    ["status", "--json"],
    ["log"],
    ["log", "1"],
    ["verify"],
    ["memory"],
    ["export"],
    ["watch"],
    ["report", "--out", "report"],
    ["brain", "merge", "swarm_brain.jsonl", "other.jsonl", "--out", "merged.jsonl"],
    ["brain", "merge", "swarm_brain.jsonl", "other.jsonl"],
)


def on_a_laptop(folder: Path, *commands: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ELSEWHERE, json.dumps(commands)], cwd=folder, capture_output=True, text=True,
        timeout=110, check=False, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CODE), "HOME": str(folder)},
    )  # fmt: skip


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = make_repository(tmp_path / "repo").root
    for name, study in (("swarm_brain.jsonl", "here"), ("other.jsonl", "there")):
        Brain(root / name, clock=FakeClock()).append(
            study_opened(study_id=study),
            claim("t0001", study_id=study, operator=Operator.BASELINE, parent=None, program="t0001"),
            finished("t0001", 2.0, study_id=study),
            StudyClosed(study_id=study, reason="all trials done"),
        )
    return root


def test_what_reads_and_merges_runs_on_a_laptop(repository: Path) -> None:
    done = on_a_laptop(repository, *READS)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (repository / "report" / "report.html").exists() and (repository / "merged.jsonl").exists()


def test_every_command_says_its_help_on_a_laptop(tmp_path: Path) -> None:
    from typer.main import get_command

    names = list(getattr(get_command(app), "commands", {}))
    done = on_a_laptop(tmp_path, *([name, "--help"] for name in names))
    assert done.returncode == 0, done.stderr[-3000:]


def test_what_a_pod_needs_at_home_is_imported_on_a_laptop(tmp_path: Path) -> None:
    """All of the room but what runs in pods, and the fake provider, whose pods are processes of this machine."""
    inside = ("entry", "inside", "on_host", "fake")
    room = CODE / "swarm" / "pods"
    paths = [path.relative_to(CODE).with_suffix("") for path in room.rglob("*.py")]
    names = [".".join(path.parts).removesuffix(".__init__") for path in paths if path.parts[2] not in inside]
    needed = [*names, "swarm.pods.inside", "swarm.pods.inside.seed"]
    code = ELSEWHERE.partition("from swarm.cli import main")[0]
    code += "".join(f"importlib.import_module({name!r})\n" for name in sorted(needed))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CODE)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(needed) > 10


def test_the_laptop_of_these_tests_lacks_what_it_should(tmp_path: Path) -> None:
    start = ELSEWHERE.partition("from swarm.cli import main")[0]
    for line in ("import torch", "open('/proc/self/stat')", "import time; time.CLOCK_BOOTTIME",
                 "exec('import fcntl', {'__name__': 'swarm.x'})"):  # fmt: skip
        command = [sys.executable, "-c", f"{start}\n{line}"]
        assert subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False).returncode == 1, line
