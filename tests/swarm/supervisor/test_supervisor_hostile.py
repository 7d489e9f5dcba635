"""Programs that do not want to end: the whole tree dies, in time, and nothing of it is left."""

import fcntl
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.trial_programs import LIST_OPEN_FILES, Programs, finish, processes_named, until

from swarm.errors import TrialLost
from swarm.supervisor import PhaseSpec, attach, kill_leftovers

LIMIT_S = 1.0
ALLOWED_OVERRUN_S = 8.0


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    built = Programs(tmp_path)
    built.folder.mkdir()
    built.modules.mkdir()
    yield built
    built.close()


@pytest.fixture
def token() -> Iterator[str]:
    """Carried in the command line of a test's hostile children, so that they are found whatever they did."""
    made = f"hostile-{uuid.uuid4().hex}"
    yield made
    for pid in processes_named(made):
        os.kill(pid, signal.SIGKILL)


def sleeper(token: str) -> str:
    return f"[sys.executable, '-c', 'import time; time.sleep(300)', '{token}']"


HOSTILE = {
    "ignores SIGTERM": "signal.signal(signal.SIGTERM, signal.SIG_IGN); wait()",
    "stops itself": "os.kill(os.getpid(), signal.SIGSTOP); wait()",
    "grandchild in its own session": "subprocess.Popen(SLEEPER, start_new_session=True); wait()",
    "double fork without descriptors": """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.closerange(0, 100); os.chdir('/'); os.execve(sys.executable, SLEEPER, {})
            os._exit(0)
        wait()
    """,
    "group of its own that ignores everything": """
        if os.fork() == 0:
            os.setpgid(0, 0)
            for number in range(1, 32):
                try: signal.signal(number, signal.SIG_IGN)
                except OSError: pass
            os.execv(sys.executable, SLEEPER)
        wait()
    """,
    "fork storm": """
        made = 0
        for _ in range(6):
            os.fork()
        for _ in range(3):
            if os.fork() == 0: os.setsid()
        wait()
    """,
}


def hostile_phase(programs: Programs, source: str, token: str, **limits: object) -> PhaseSpec:
    body = "\n".join(line.removeprefix("        ") for line in source.splitlines())
    helpers = f"def wait():\n    while True: time.sleep(300)\nSLEEPER = {sleeper(token)}\n"
    return programs.phase(f"import os, signal, subprocess, sys, time\n{helpers}{body}\n", **limits)


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_tree_is_dead_in_time(programs: Programs, source: str, token: str) -> None:
    running = programs.launch(programs.spec(hostile_phase(programs, source, token, walltime_limit_s=LIMIT_S)))
    phase = finish(running).phases[0]
    assert phase.ending == "walltime"
    assert phase.seconds < LIMIT_S + ALLOWED_OVERRUN_S
    assert processes_named(token) == []
    assert kill_leftovers(programs.folder) == []


def test_what_a_phase_leaves_behind_is_dead_before_the_next_one_starts(programs: Programs, token: str) -> None:
    """A descendant of *train* could otherwise write into what *predict* reads."""
    leaving = hostile_phase(programs, HOSTILE["double fork without descriptors"].replace("wait()", "pass"), token)
    looking = programs.phase(
        f"""
        import os
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try: command = open(f'/proc/{{pid}}/cmdline').read()
            except OSError: continue
            if {token!r} in command: print('alive', pid)
        """,
        "score",
    )
    result = programs.run(leaving, looking)
    assert [phase.ending for phase in result.phases] == ["ok", "ok"]
    assert programs.log("score") == ""


@pytest.mark.parametrize(("child_lives_s", "left"), [(0.05, 0), (60.0, 1)])
def test_who_is_left_after_a_clean_end_is_counted(programs: Programs, child_lives_s: float, left: int) -> None:
    """A helper that notices the end of its parent gets a moment to go."""
    source = f"import subprocess; subprocess.Popen(['sleep', '{child_lives_s}'])"
    result = programs.run(programs.phase(source), programs.phase("pass", "score"))
    assert [(phase.ending, phase.left_processes) for phase in result.phases] == [("ok", left), ("ok", 0)]


@pytest.mark.parametrize("how", ["LOCK_EX", "LOCK_SH"])
def test_holding_a_lock_against_others_is_measured(programs: Programs, how: str) -> None:
    """Kept through a mapping of the file, behind a closed descriptor."""
    gate = programs.root / "gate"
    gate.write_bytes(b" ")
    source = f"""
        import fcntl, mmap, os, time
        descriptor = os.open({str(gate)!r}, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.{how})
        kept = mmap.mmap(descriptor, 1, prot=mmap.PROT_READ)
        os.close(descriptor)
        time.sleep(2.2)
    """
    held_s = programs.run(programs.phase(source, gate=(str(gate),))).phases[0].gate_held_s
    assert 1.0 < held_s < 2.8 if how == "LOCK_EX" else held_s == 0.0


def test_sigterm_is_given_its_grace(programs: Programs) -> None:
    source = """
        import signal, sys, time
        def leave(*_):
            print('tidied up'); sys.exit(0)
        signal.signal(signal.SIGTERM, leave)
        time.sleep(60)
    """
    phase = programs.run(programs.phase(source, walltime_limit_s=0.8), term_grace_s=5.0).phases[0]
    assert phase.ending == "walltime" and phase.exit_code == 0
    assert phase.seconds < 5
    assert programs.log() == "tidied up\n"


def test_a_killed_supervisor_takes_its_phase_with_it(programs: Programs, token: str) -> None:
    phase = hostile_phase(programs, "os.execv(sys.executable, SLEEPER)", token)
    running = programs.launch(programs.spec(phase))
    until(lambda: processes_named(token), "the phase runs")
    assert running.pid is not None
    os.kill(running.pid, signal.SIGKILL)
    until(lambda: not processes_named(token), "the phase died with its supervisor", 5.0)
    with pytest.raises(TrialLost, match="died without a result"):
        until(running.poll, "the loss was noticed")
    assert attach(programs.folder) is None


def test_leftovers_of_a_killed_supervisor_are_found(programs: Programs, token: str) -> None:
    """One grandchild keeps the environment and nothing else, one only the standard input, one only the session."""
    source = """
        empty = {}
        keeps_environment = os.fork()
        if keeps_environment == 0:
            os.setsid(); os.closerange(0, 100); os.chdir('/'); os.execv(sys.executable, SLEEPER)
        keeps_input = os.fork()
        if keeps_input == 0:
            os.setsid(); os.closerange(1, 100); os.chdir('/'); os.execve(sys.executable, SLEEPER, empty)
        keeps_session = os.fork()
        if keeps_session == 0:
            os.closerange(0, 100); os.chdir('/'); os.execve(sys.executable, SLEEPER, empty)
        wait()
    """
    running = programs.launch(programs.spec(hostile_phase(programs, source, token)))
    until(lambda: len(processes_named(token)) == 3, "three grandchildren run")
    assert running.pid is not None
    os.kill(running.pid, signal.SIGKILL)
    bystander = os.fork()
    if bystander == 0:  # like a shell with `tail -f` in the folder: no part of the trial
        os.chdir(programs.folder)
        os.open(programs.folder / "logs" / "train.log", os.O_RDONLY)
        signal.pause()
    try:
        until(lambda: Path(f"/proc/{bystander}/cwd").readlink() == programs.folder, "somebody looks on")
        assert len(kill_leftovers(programs.folder)) >= 3
        assert processes_named(token) == []
        assert os.waitpid(bystander, os.WNOHANG) == (0, 0)
    finally:
        os.kill(bystander, signal.SIGKILL)
        os.waitpid(bystander, 0)


def is_free(lease: Path) -> bool:
    descriptor = os.open(lease, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def take(lease: Path) -> int:
    descriptor = os.open(lease, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def test_the_lease_is_held_by_the_tree_and_free_after_the_last_phase_that_holds_it(programs: Programs) -> None:
    lease, go = programs.root / "lease", programs.root / "go"
    wait_for_go = f"import os, time\nwhile not os.path.exists('{go}'): time.sleep(0.01)\n"
    holding = programs.phase(LIST_OPEN_FILES, holds_lease=True)
    after = programs.phase(wait_for_go, "score", holds_lease=False)
    descriptor = take(lease)
    running = programs.launch(programs.spec(holding, after), descriptor)
    os.close(descriptor)
    until(lambda: is_free(lease), "the lease was released before the last phase")
    assert running.poll() is None
    assert str(lease) in programs.log("train")
    go.touch()
    assert [phase.ending for phase in finish(running).phases] == ["ok", "ok"]


def test_the_lease_outlives_a_killed_supervisor_as_long_as_a_grandchild_lives(programs: Programs, token: str) -> None:
    lease = programs.root / "lease"
    source = "subprocess.Popen(SLEEPER, start_new_session=True, close_fds=False); wait()"
    descriptor = take(lease)
    running = programs.launch(programs.spec(hostile_phase(programs, source, token, holds_lease=True)), descriptor)
    os.close(descriptor)
    until(lambda: processes_named(token), "the grandchild runs")
    assert running.pid is not None
    os.kill(running.pid, signal.SIGKILL)
    until(lambda: attach(programs.folder) is None, "it is dead")
    assert not is_free(lease)
    kill_leftovers(programs.folder)
    until(lambda: is_free(lease), "the kernel released the lease")


def test_a_candidate_cannot_give_the_lease_up(programs: Programs) -> None:
    lease = programs.root / "lease"
    source = """
        import fcntl, os, time
        for name in list(os.listdir('/proc/self/fd')):
            try: fcntl.flock(int(name), fcntl.LOCK_UN)
            except OSError: pass
        open('unlocked', 'w').close()
        time.sleep(60)
    """
    descriptor = take(lease)
    running = programs.launch(programs.spec(programs.phase(source, trusted=False, holds_lease=True)), descriptor)
    os.close(descriptor)
    until((programs.folder / "scratch" / "unlocked").exists, "it tried to unlock")
    assert not is_free(lease)
    running.stop("seen enough")
    finish(running)
    assert is_free(lease)
