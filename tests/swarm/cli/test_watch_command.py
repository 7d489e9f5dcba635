"""`swarm watch` as a person runs it: one frame, a pipe, a terminal, Ctrl-C."""

import json
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from factories.studies import FakeStudy

from swarm.brain import Brain
from swarm.records import Record, StudyClosed

WATCH = (sys.executable, "-m", "swarm", "watch")
ROOT = Path(__file__).parents[3]
IN_ITS_TERMINAL = (
    "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "signal.signal(signal.SIGINT, signal.SIG_DFL); "  # ignored where tests run in the background
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def brain_of(folder: Path, *more: Record) -> Path:
    """A copy of a brain in no repository: a study with a trial that waits."""
    fake = FakeStudy()
    fake.measure_noise()
    fake.claim(parent="t0001", description="set [bold]X[/] = 1")
    brain = Brain(folder / "copy.jsonl")
    brain.append(*[record.model_copy(update={"seq": 0, "prev": ""}) for record in (*fake.records, *more)])
    return brain.path


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "SWARM_GPU_DIR": str(folder / "gpu"), "TERM": "xterm", **more}


def watch(brain: Path, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*WATCH, "--brain", str(brain), *arguments],
        cwd=brain.parent, env=environment(brain.parent, **more),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("none_at_all", ["0", "00"])
def test_a_terminal_without_columns_gets_the_usual_ones(tmp_path: Path, none_at_all: str) -> None:
    none = watch(brain_of(tmp_path), "--once", COLUMNS=none_at_all, LINES=none_at_all).stdout
    assert "set [bold]X[/] = 1" in none
    assert 60 < max(map(len, none.splitlines())) <= 80


@pytest.mark.parametrize("columns", ["80", "200"])
def test_one_frame_for_the_given_columns_without_control_codes(tmp_path: Path, columns: str) -> None:
    done = watch(brain_of(tmp_path), "--once", COLUMNS=columns)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("fake-study") == 1
    assert "set [bold]X[/] = 1" in done.stdout and "copy: seen through its brain alone" in done.stdout
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.stdout)
    assert max(map(len, done.stdout.splitlines())) <= int(columns)


def test_a_pipe_gets_a_frame_for_each_change_until_the_study_ends(tmp_path: Path) -> None:
    brain = brain_of(tmp_path)
    with subprocess.Popen(
        [*WATCH, "--json", "--brain", str(brain)],
        cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        Brain(brain).append(StudyClosed(study_id="fake-study", reason="time is up", description="\x1b[31mred"))
        second = json.loads(process.stdout.readline())
        assert process.stdout.readline() == ""
    assert process.returncode == 0
    assert (first["schema_version"], first["state"], second["state"], second["why"]) == (
        1,
        "copy",
        "ended",
        "time is up",
    )


def test_a_closed_pipe_ends_it_without_a_word(tmp_path: Path) -> None:
    command = f"{sys.executable} -m swarm watch --once --brain {brain_of(tmp_path)} | true"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_on_a_terminal_it_is_live_costs_little_and_ctrl_c_leaves_the_last_frame(tmp_path: Path) -> None:
    brain = brain_of(tmp_path)
    terminal, inside = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", IN_ITS_TERMINAL, *WATCH, "--brain", str(brain)],
        cwd=tmp_path, env=environment(tmp_path, COLUMNS="100", LINES="40"),
        stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
    )  # fmt: skip
    os.close(inside)
    shown = read_until(terminal, b"waiting")
    before, began = cpu_s(process.pid), time.monotonic()
    time.sleep(3)
    share = (cpu_s(process.pid) - before) / (time.monotonic() - began)
    os.write(terminal, b"\x03")
    rest = read_until(terminal, b"fake-study", then_s=1.0)
    assert process.wait(timeout=10) == 0
    os.close(terminal)
    assert b"\x1b[?1049h" in shown, "on the alternate screen"
    assert b"\x1b[?1049l" in rest and b"\x1b[?25h" in rest, "the terminal is as it was"
    assert b"fake-study" in rest.rpartition(b"\x1b[?1049l")[2], "the last frame stays"
    assert b"interrupted" not in rest and b"Traceback" not in rest
    assert share < 0.05, f"{share:.1%} of a core"


def cpu_s(pid: int) -> float:
    used = psutil.Process(pid).cpu_times()
    return used.user + used.system


def read_until(terminal: int, wanted: bytes, then_s: float = 0.0) -> bytes:
    """What the terminal shows until `wanted` is there, and for a while after it."""
    text, deadline = b"", time.monotonic() + 30
    while time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], 0.1)
        try:
            text += os.read(terminal, 65536) if ready else b""
        except OSError:  # its other end is closed
            break
        if wanted in text and then_s >= 0:
            deadline, then_s = time.monotonic() + then_s, -1.0
    return text


def test_no_brain_and_no_study_are_one_line(tmp_path: Path) -> None:
    done = watch(tmp_path / "absent.jsonl", "--once")
    assert done.returncode == 1 and "there is no brain at" in done.stderr and "Traceback" not in done.stderr
    done = watch(brain_of(tmp_path), "--once", "--study", "other")
    assert done.returncode == 2 and "'other' fits 0 studies" in done.stderr
