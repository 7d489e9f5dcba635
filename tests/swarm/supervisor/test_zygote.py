"""Trials forked from a warm process: the same results as from a fresh one, and never from a stale or unfit one."""

import fcntl
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.trial_programs import Programs, finish, until

from swarm import sandbox
from swarm.errors import TrialError
from swarm.supervisor import TrialResult, Zygote, attach, kill_leftovers, proc
from swarm.supervisor.zygote import ask

PRELOAD = """
import os, pathlib

UNFIT = pathlib.Path(__file__).with_name("unfit")

def assert_forkable():
    if UNFIT.exists():
        raise RuntimeError("unfit to fork")
"""


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    built = Programs(tmp_path)
    built.folder.mkdir()
    built.modules.mkdir()
    (built.modules / "warmth").mkdir()
    (built.modules / "warmth" / "__init__.py").write_text("")
    (built.modules / "warmth" / "preload.py").write_text(PRELOAD)
    yield built
    built.close()


@pytest.fixture
def zygote(programs: Programs) -> Iterator[Zygote]:
    started = Zygote.start("warmth.preload", programs.root / "zygote.sock", pythonpath=(str(programs.modules),))
    yield started
    started.stop()


def test_a_zygote_that_nobody_wants_any_more_is_not_waited_for(programs: Programs) -> None:
    (programs.modules / "warmth" / "preload.py").write_text("import time\ntime.sleep(60)\n")
    wishes = iter([True, True, False])
    with pytest.raises(TrialError, match="did not start"):
        Zygote.start(
            "warmth.preload",
            programs.root / "zygote.sock",
            pythonpath=(str(programs.modules),),
            wanted=lambda: next(wishes, False),
        )


def was_forked(programs: Programs) -> bool:
    return "warm" in programs.log().splitlines()


SAY_WHETHER_WARM = "import sys; print('warm' if 'warmth.preload' in sys.modules else 'cold')\n"


def comparable(result: TrialResult) -> list[tuple[object, ...]]:
    return [(phase.name, phase.ending, phase.exit_code, phase.signal, phase.detail) for phase in result.phases]


SOURCES = {
    "success": "print(sorted(__import__('os').environ), sys.argv[1:], sys.flags, __name__)",
    "exit code": "sys.exit(10)",
    "message": "sys.exit('the reason')",
    "crash": "raise RuntimeError('broken')",
    "signal": "import os; os.kill(os.getpid(), 11)",
    "hash": "print(hash('x'), {'a', 'b', 'c', 'd'})",
    "place": "import os; print(os.getcwd(), os.getsid(0) == os.getpid(), os.umask(0))",
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_a_fork_gives_what_a_spawn_gives(programs: Programs, zygote: Zygote, source: str) -> None:
    phase = programs.phase(f"import sys\n{source}\n", trusted=False)
    forked = programs.run(phase, socket=zygote.socket_path)
    forked_log = programs.log()
    for name in ("result.json", "supervisor.json", "logs/train.log"):
        (programs.folder / name).unlink()
    spawned = programs.run(phase)
    assert comparable(forked) == comparable(spawned)
    if source != SOURCES["crash"]:  # the traceback shows how it was started
        assert forked_log == programs.log()
    assert forked.sandbox == spawned.sandbox == sandbox.probe()


SAY_THE_LOCALE = """
import locale, os, sys
print(sorted(item for item in os.environ.items() if item[0].startswith(("LC_", "LANG"))))
print(locale.setlocale(locale.LC_ALL), sys.getfilesystemencoding(), sys.flags.utf8_mode)
"""


@pytest.mark.parametrize("locale", [{}, {"LANG": "C"}, {"LC_ALL": "POSIX", "LC_CTYPE": "de_DE.UTF-8"}], ids=repr)
def test_the_locale_of_a_person_reaches_no_trial(
    programs: Programs, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, locale: dict[str, str]
) -> None:
    for name in [name for name in os.environ if name.startswith(("LC_", "LANG"))]:
        monkeypatch.delenv(name)
    for name, value in locale.items():
        monkeypatch.setenv(name, value)
    started: Zygote = request.getfixturevalue("zygote")
    programs.run(programs.phase(SAY_THE_LOCALE, trusted=False), socket=started.socket_path)
    forked_log = programs.log()
    for name in ("result.json", "supervisor.json", "logs/train.log"):
        (programs.folder / name).unlink()
    programs.run(programs.phase(SAY_THE_LOCALE, trusted=False))
    assert forked_log == programs.log()
    assert forked_log.startswith("[('LC_ALL', 'C.UTF-8')]")


def test_a_trial_really_starts_in_a_fork(programs: Programs, zygote: Zygote) -> None:
    result = programs.run(programs.phase(SAY_WHETHER_WARM), socket=zygote.socket_path)
    assert was_forked(programs)
    assert result.phases[0].ready_s is not None


def test_the_lease_travels_with_the_request(programs: Programs, zygote: Zygote) -> None:
    lease = programs.root / "lease"
    descriptor = os.open(lease, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    phase = programs.phase(SAY_WHETHER_WARM + "import time; time.sleep(60)", trusted=False, holds_lease=True)
    running = programs.launch(programs.spec(phase), descriptor, zygote.socket_path)
    os.close(descriptor)
    with lease.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    running.stop("enough")
    finish(running)
    with lease.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_limits_hold_in_a_fork(programs: Programs, zygote: Zygote) -> None:
    source = """
        import os, signal, time
        signal.signal(15, signal.SIG_IGN)
        if os.fork() == 0: os.setsid()
        time.sleep(60)
    """
    phase = programs.run(programs.phase(source, walltime_limit_s=0.5), socket=zygote.socket_path).phases[0]
    assert phase.ending == "walltime" and phase.seconds < 8
    assert kill_leftovers(programs.folder) == []


def test_a_running_trial_survives_its_zygote(programs: Programs, zygote: Zygote) -> None:
    running = programs.launch(programs.spec(programs.phase("import time; time.sleep(0.6)")), None, zygote.socket_path)
    os.kill(zygote.pid, signal.SIGKILL)
    assert finish(running).phases[0].ending == "ok"


def test_leftovers_of_a_fork_are_found(programs: Programs, zygote: Zygote) -> None:
    """A fork keeps the zygote's environment block, so the marker is not in it."""
    source = "import os, signal, time\nos.fork()\nopen('up', 'w').close()\nos.closerange(0, 9)\ntime.sleep(60)"
    running = programs.launch(programs.spec(programs.phase(source)), None, zygote.socket_path)
    until((programs.folder / "private" / "up").exists, "it runs")
    assert running.pid is not None
    os.kill(running.pid, signal.SIGKILL)
    assert kill_leftovers(programs.folder)
    assert attach(programs.folder) is None


@pytest.mark.parametrize("loss", ["killed", "socket gone", "never was"])
def test_without_a_zygote_the_trial_is_spawned(programs: Programs, zygote: Zygote, loss: str) -> None:
    socket_path = zygote.socket_path
    if loss == "killed":
        os.kill(zygote.pid, signal.SIGKILL)
        until(lambda: not zygote.alive(), "it is gone")
    elif loss == "socket gone":
        socket_path.unlink()
    else:
        socket_path = programs.root / "no" / "folder" / "zygote.sock"
    result = programs.run(programs.phase(SAY_WHETHER_WARM), socket=socket_path)
    assert result.phases[0].ending == "ok"
    assert not was_forked(programs)


def test_changed_code_makes_the_zygote_stale(programs: Programs, zygote: Zygote) -> None:
    (programs.modules / "warmth" / "__init__.py").write_text("CHANGED = True")
    programs.run(programs.phase(SAY_WHETHER_WARM), socket=zygote.socket_path)
    assert not was_forked(programs)
    until(lambda: not zygote.alive(), "the stale zygote ended")


def test_an_unfit_zygote_ends_and_does_not_fork(programs: Programs, zygote: Zygote) -> None:
    (programs.modules / "warmth" / "unfit").touch()
    programs.run(programs.phase(SAY_WHETHER_WARM), socket=zygote.socket_path)
    assert not was_forked(programs)
    until(lambda: not zygote.alive(), "the unfit zygote ended")


def test_a_candidate_cannot_use_the_zygote_to_leave_its_sandbox(programs: Programs, zygote: Zygote) -> None:
    """Its request would start trusted phases of its own making. Where only Landlock holds it can connect, so the
    zygote itself looks who asks."""
    if sandbox.probe().level == "none":
        pytest.skip("nothing is confined on this machine: the way out by the zygote is not verified")
    evil = programs.root / "evil"
    evil.mkdir()
    (evil / "logs").mkdir()
    outside = programs.root / "reached"
    (programs.modules / "evil_code.py").write_text(f"open({str(outside)!r}, 'w')")
    spec = programs.spec(programs.phase("pass", "score"))
    stolen = spec.to_json().replace("score_code", "evil_code").replace(str(programs.folder), str(evil))
    (evil / "spec.json").write_text(stolen)
    source = f"""
        import socket
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.settimeout(3)
        client.connect({str(zygote.socket_path)!r})
        try:
            client.send({str(evil / "spec.json")!r}.encode())
            print(client.recv(64))
        except ConnectionError:  # refused and closed before it was read
            print(b'refused')
    """
    programs.switch_off("namespaces", "user", "seccomp")
    programs.run(programs.phase(source, trusted=False))
    assert programs.log() == "b'refused'\n"
    assert not outside.exists()


def test_the_socket_is_private_and_may_lie_deep(programs: Programs) -> None:
    deep = programs.root / ("d" * 100) / ("e" * 100) / "zygote.sock"
    started = Zygote.start("warmth.preload", deep, pythonpath=(str(programs.modules),))
    try:
        assert stat.S_IMODE(deep.stat().st_mode) == 0o600
        programs.run(programs.phase(SAY_WHETHER_WARM), socket=deep)
        assert was_forked(programs)
    finally:
        started.stop()
    assert not started.alive()
    assert not deep.exists()


def test_a_trial_is_claimed_once(programs: Programs, zygote: Zygote) -> None:
    """A launcher whose zygote answers too late spawns as well: only one of the two may run the trial."""
    phase = programs.phase("open('../ran', 'a').write('x'); import time; time.sleep(0.3)")
    spec_path = programs.folder / "spec.json"
    spec_path.write_text(programs.spec(phase).to_json())
    (programs.folder / "logs").mkdir()
    assert ask(zygote.socket_path, spec_path, None)
    assert ask(zygote.socket_path, spec_path, None)
    until(lambda: attach(programs.folder), "one of them runs it")
    until(lambda: "started before" in (programs.folder / "logs" / "supervisor.log").read_text(), "one gave up")
    finish(until(lambda: attach(programs.folder), "found"))
    assert (programs.folder / "ran").read_text() == "x"


def test_a_preload_that_fails_is_named(programs: Programs) -> None:
    with pytest.raises(TrialError, match="No module named 'cold'"):
        Zygote.start("cold.preload", programs.root / "zygote.sock", pythonpath=(str(programs.modules),))


def test_a_zygote_ends_with_its_owner(programs: Programs) -> None:
    owner = os.fork()
    if owner == 0:
        started = Zygote.start("warmth.preload", programs.root / "z.sock", pythonpath=(str(programs.modules),))
        (programs.root / "pid").write_text(str(started.pid))
        os._exit(0)
    os.waitpid(owner, 0)
    pid = int((programs.root / "pid").read_text())
    until(lambda: proc.read(pid) is None or proc.is_zombie(pid), "the zygote ended", 5.0)
