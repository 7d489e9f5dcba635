"""A long command whose terminal or pipe goes away: it goes on, and ends as if somebody had watched."""

import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from fakes.tiny_study import SWARM, make_tiny_study, stopped_at_the_end

from swarm.records import TrialState
from swarm.study.state import StudyState

WRITER = """
import os, signal, sys, time
from swarm.cli.terminal import lasting_console
with lasting_console() as console:
    console.print("first")
    sys.stdin.readline()  # until the reader has gone
    for _ in range(2000):
        console.print("x" * 200)
    os.kill(os.getpid(), signal.SIGHUP)
print("the end", file=sys.stderr)
"""


IN_ITS_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
UP = ("up", "--target", "tiny", "--data", "standin", "--device", "cpu", "--trials", "2")


def test_a_closed_pipe_and_a_hangup_end_nothing() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as writer:  # fmt: skip
        assert writer.stdin is not None and writer.stdout is not None and writer.stderr is not None
        assert writer.stdout.readline() == "first\n"
        writer.stdout.close()
        writer.stdin.close()
        assert writer.stderr.read() == "the end\n"
    assert writer.returncode == 0


@pytest.mark.timeout(120)
def test_a_study_outlives_the_terminal_that_it_was_started_in(tmp_path: Path) -> None:
    tiny = make_tiny_study(tmp_path)
    terminal, inside = os.openpty()
    up = subprocess.Popen(
        [sys.executable, "-c", IN_ITS_TERMINAL, SWARM, *UP],
        cwd=tiny.root,
        env=tiny.environment(TERM="xterm-256color"),
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )
    os.close(inside)
    with stopped_at_the_end(up):
        shown = _read_while(terminal, lambda: tiny.wait_for(_some_trial_trains))
        assert b"Study tiny-" in shown
        os.close(terminal)  # the kernel hangs up
        assert up.wait(100) == 0
    study = tiny.study()
    assert study.closed is not None and study.closed.reason == "all trials done"
    assert [trial.state for trial in study.trials.values()] == [TrialState.COMPLETE] * 2
    assert tiny.processes() == []


def _some_trial_trains(study: StudyState) -> bool:
    return any(trial.state is TrialState.RUNNING for trial in study.trials.values())


def _read_while(terminal: int, wait: Callable[[], object]) -> bytes:
    """What the terminal shows meanwhile; unread, its buffer would fill and stop the writer."""
    shown = bytearray()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            if select.select([terminal], [], [], 0.05)[0]:
                with suppress(OSError):
                    shown.extend(os.read(terminal, 65536))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        wait()
    finally:
        done.set()
        reader.join()
    return bytes(shown)
