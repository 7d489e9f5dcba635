"""Two hundred hangs: programs that do not want to end, a git that never answers, a model server that never does.

    CHAOS_HANGS=200 pytest -n 0 -m chaos -s tests/chaos/test_chaos_hangs.py

Each has a limit, and what is measured from outside is by how much it was passed: from the start to the moment when all
is over and nothing lives. The largest overrun of each kind is printed.
"""

import os
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import openai  # noqa: F401 - it takes a second to load, which is nobody's overrun
import pytest
from fakes.fake_llm import FakeLLM, Stall
from fakes.trial_programs import Programs, processes_named

from swarm.clock import SystemClock
from swarm.errors import GitTimeout
from swarm.repo.git import Git
from swarm.supervisor import PhaseSpec, Running, kill_leftovers
from workers.proposers.openai_api.rules import Rules
from workers.proposers.openai_api.server import CallFailed, Server
from workers.redact import Redactor

HANGS = int(os.environ.get("CHAOS_HANGS", "200"))
OF_GIT = HANGS // 10
OF_SERVERS = HANGS // 10
OF_PROGRAMS = HANGS - OF_GIT - OF_SERVERS

LIMIT_S = 1.0
OVERRUN_S = 8.0
AT_ONCE = 6
WORST: dict[str, float] = {}

# `wait()` sleeps for ever; SLEEPER is a command that does, with the test's token in its command line.
PROGRAMS = {
    "ignores SIGTERM": "ignore(signal.SIGTERM)\nwait()",
    "ignores everything": "ignore(*range(1, 32))\nwait()",
    "stops itself": "os.kill(os.getpid(), signal.SIGSTOP)\nwait()",
    "is busy": "ignore(signal.SIGTERM)\nwhile True: pass",
    "forks": "ignore(signal.SIGTERM)\nfor _ in range(4): fork()\nwait()",
    "opens sessions": "if fork() == 0:\n    os.setsid()\n    fork()\n    os.execv(sys.executable, SLEEPER)\nwait()",
    "closes descriptors": "ignore(signal.SIGTERM)\nfork()\nos.closerange(0, 100)\nwait()",
    "floods its log": "ignore(signal.SIGTERM)\nwhile True: os.write(1, b'x' * 65536)",
    "stops its children": "if fork() == 0: os.kill(os.getpid(), signal.SIGSTOP)\nos.kill(os.getpid(), signal.SIGSTOP)",
    "leaves a child behind": "if fork() == 0:\n    os.setsid()\n    os.closerange(0, 100)\n    os.chdir('/')\n"
    "    os.execve(sys.executable, SLEEPER, {})\nwait()",
}  # fmt: skip
HEAD = """
import os, signal, sys, time
def wait():
    while True: time.sleep(300)
def fork():
    try: return os.fork()
    except OSError: return -1
def ignore(*numbers):
    for number in numbers:
        try: signal.signal(number, signal.SIG_IGN)
        except OSError: pass
SLEEPER = [sys.executable, '-c', 'import time; time.sleep(300)', '{token}']
"""


@pytest.fixture(scope="module", autouse=True)
def worst() -> Iterator[None]:
    yield
    print("\nlargest overrun: " + ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in sorted(WORST.items())))


def note(kind: str, overrun_s: float) -> None:
    WORST[kind] = max(WORST.get(kind, 0.0), overrun_s)
    assert overrun_s <= OVERRUN_S, f"{kind}: {overrun_s:.1f} s beyond the limit"


def hanging(root: Path, name: str, token: str, *, predicts: bool) -> Programs:
    """A trial of its own; half of them train well and hang when they predict."""
    root.mkdir()
    programs = Programs(root)
    programs.folder.mkdir()
    programs.modules.mkdir()
    hang = phase(programs, name, token, "predict" if predicts else "train")
    before = [programs.phase("pass", "train")] if predicts else []
    programs.launch(programs.spec(*before, hang, term_grace_s=5.0))
    return programs


def phase(programs: Programs, name: str, token: str, kind: str) -> PhaseSpec:
    """Sandboxed every other time, as a candidate is."""
    source = HEAD.replace("{token}", token) + PROGRAMS[name]
    return programs.phase(source, kind, trusted=len(name) % 2 == 0, walltime_limit_s=LIMIT_S)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_program_that_hangs_is_over_in_time_and_leaves_nothing(tmp_path: Path) -> None:
    names = list(PROGRAMS)
    for first in range(0, OF_PROGRAMS, AT_ONCE):
        token = f"hang-{uuid.uuid4().hex}"
        batch = {
            number: hanging(
                tmp_path / str(number), names[number % len(names)], token, predicts=number // len(names) % 2 == 1
            )
            for number in range(first, min(first + AT_ONCE, OF_PROGRAMS))
        }
        try:
            follow(batch, names)
            assert processes_named(token) == []
            assert [kill_leftovers(programs.folder) for programs in batch.values()] == [[]] * len(batch)
        finally:
            for programs in batch.values():
                programs.close()


def follow(batch: dict[int, Programs], names: list[str]) -> None:
    """Until each is over. Its limit counts from the moment when its hanging phase began."""
    waiting = dict(batch)
    while waiting:
        for number, programs in list(waiting.items()):
            running: Running = programs.running[0]
            if (result := running.poll()) is None:
                continue
            over = time.time()
            last = result.phases[-1]
            assert last.ending == "walltime", (names[number % len(names)], last)
            began = result.started_at + last.started_s
            note(names[number % len(names)], over - began - LIMIT_S)
            del waiting[number]
        time.sleep(0.02)


@pytest.mark.parametrize("hangs", [1, pytest.param(OF_GIT, marks=[pytest.mark.chaos, pytest.mark.timeout(600)])])
def test_a_git_that_hangs_is_given_up_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: int) -> None:
    token = f"hang-{uuid.uuid4().hex}"
    shim = tmp_path / "bin" / "git"
    shim.parent.mkdir()
    shim.write_text(f"#!/bin/sh\ntrap '' TERM\nsleep 300 & exec python3 -c 'import time; time.sleep(300)' {token}\n")
    shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    for _ in range(hangs):
        began = time.monotonic()
        with pytest.raises(GitTimeout):
            Git(tmp_path, timeout_s=0.3)("status")
        note("git", time.monotonic() - began - 0.3)
    assert processes_named(token) == []


@pytest.mark.parametrize("hangs", [2, pytest.param(OF_SERVERS, marks=[pytest.mark.chaos, pytest.mark.timeout(600)])])
def test_a_model_server_that_hangs_is_given_up_in_time(hangs: int) -> None:
    with FakeLLM([Stall(trickle=number % 2 == 1) for number in range(hangs)]) as fake:
        server = Server(fake.url, "sk-nobody", "fake", SystemClock(), Redactor())
        for number in range(hangs):
            began = time.monotonic()
            with pytest.raises(CallFailed):
                server.complete([{"role": "user", "content": "hello"}], Rules(), deadline_s=0.3, quiet_s=0.3)
            note("a server that trickles" if number % 2 else "a silent server", time.monotonic() - began - 0.3)
