"""CPU time counted from outside: whoever works, waited for or not."""

import os
import signal
import time
from pathlib import Path

import pytest

from swarm.supervisor.counter import CpuCounter

BURN = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass"


@pytest.fixture
def waiting() -> "tuple[int, int]":
    """A child that waits for a byte before it works, and the pipe for it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(writing)
            os.read(reading, 1)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody is waited for, and no account knows of it
            if os.fork() == 0:
                exec(BURN)
                os._exit(0)
            time.sleep(30)
        finally:
            os._exit(0)
    os.close(reading)
    return pid, writing


def test_children_that_nobody_waits_for_are_counted(waiting: tuple[int, int]) -> None:
    pid, writing = waiting
    counter = CpuCounter.of(pid)
    try:
        if counter is None:
            pytest.skip("the kernel does not let us count here: not verified")
        os.write(writing, b"x")
        deadline = time.monotonic() + 20
        while counter.seconds() < 0.35 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert 0.35 <= counter.seconds() < 2
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        assert sum(map(int, stat[11:15])) / os.sysconf("SC_CLK_TCK") < 0.2, "its own account knows of it after all"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(writing)
        if counter is not None:
            counter.close()
