"""What a candidate's process cannot do, tried from inside, and what a training needs, which it can."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.trial_programs import Programs, finish

from swarm import sandbox
from swarm.errors import SandboxError
from swarm.sandbox import SandboxReport, calls, namespaces, seccomp
from swarm.sandbox.calls import Needs
from swarm.sandbox.ladder import require
from swarm.sandbox.libc import PR_SET_DUMPABLE, prctl
from swarm.supervisor import TrialResult, turns

ROOT = Path(__file__).parents[3]
needs_landlock = pytest.mark.skipif(
    sandbox.probe().landlock_abi < 6, reason="no Landlock 6 here: confinement of files and signals is not verified"
)
needs_seccomp = pytest.mark.skipif(
    not sandbox.probe().seccomp, reason="no seccomp here: refused system calls are not verified"
)


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    built = Programs(tmp_path)
    built.folder.mkdir()
    built.modules.mkdir()
    for name in ("program", "private", "train_out"):
        (built.folder / name).mkdir()
    (tmp_path / "labels.txt").write_text("the labels")
    os.link(tmp_path / "labels.txt", tmp_path / "modules" / "hardlink_elsewhere")
    (built.folder / "program" / "link").symlink_to(tmp_path / "labels.txt")
    yield built
    built.close()


ATTEMPTS = """
import json, os, socket, sys

outcome = {{}}

def attempt(name, action):
    try:
        action()
    except OSError as error:
        outcome[name] = error.errno
    else:
        outcome[name] = "done"

labels, folder, up = {labels!r}, {folder!r}, os.getppid()
{attempts}
print(json.dumps(outcome))
"""


OTHERS = {
    "everything": (),
    "landlock": ("namespaces", "user", "seccomp"),
    "namespaces": ("landlock", "user", "seccomp"),
    "seccomp": ("namespaces", "landlock", "user"),
    "landlock+seccomp": ("namespaces", "user"),
}
"""Which rungs are taken away so that one has to hold alone."""
CLOSED = {1, 2, 13, 18, 30}  # EPERM, ENOENT, EACCES, EXDEV, EROFS


def alone(*rungs: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("rungs", ["everything", *rungs])


def try_inside(programs: Programs, attempts: str, rungs: str = "everything", **limits: object) -> dict[str, int | str]:
    """Outcome of each attempt in a sandboxed phase where only these rungs hold: "done", or the error number."""
    programs.switch_off(*OTHERS[rungs])
    source = ATTEMPTS.format(labels=str(programs.root / "labels.txt"), folder=str(programs.folder), attempts=attempts)
    mode = "strict" if rungs == "everything" else "auto"
    result: TrialResult = programs.run(programs.phase(source, trusted=False, **limits), sandbox=mode)
    assert result.phases[0].ending == "ok", programs.log()
    outcome: dict[str, int | str] = json.loads(programs.log().splitlines()[-1])
    return outcome


@needs_landlock
@needs_seccomp
@alone("landlock", "namespaces")
def test_labels_are_out_of_reach_by_every_path(programs: Programs, rungs: str) -> None:
    outcome = try_inside(
        programs,
        """
attempt("absolute", lambda: open(labels).read())
attempt("dots", lambda: open("../../labels.txt").read())
attempt("symlink made before", lambda: open("link").read())
attempt("symlink made inside", lambda: (os.symlink(labels, "inside"), open("inside").read()))
attempt("hardlink made inside", lambda: os.link(labels, "hard"))
attempt("root of a process", lambda: open("/proc/self/root" + labels).read())
attempt("working folder of a process", lambda: open("/proc/self/cwd/../../labels.txt").read())
attempt("listing", lambda: os.listdir(os.path.dirname(labels)))
attempt("private", lambda: os.listdir(folder + "/private"))
attempt("spec", lambda: open(folder + "/spec.json").read())
attempt("other logs", lambda: os.listdir(folder + "/logs"))
attempt("environment of the supervisor", lambda: open(f"/proc/{up}/environ").read())
attempt("memory of the supervisor", lambda: open(f"/proc/{up}/mem", "rb"))
attempt("root's home", lambda: os.listdir(os.path.expanduser("~root")))
attempt("temporary files of others", lambda: os.listdir(os.path.join("/tmp", labels.split("/")[2])))
""",
        rungs,
    )
    # With a root of its own alone it sees the folders that lead to its own, and nothing in them.
    shown = {"listing", "root's home", "temporary files of others"} if rungs == "namespaces" else set()
    assert {name for name, result in outcome.items() if result not in CLOSED} <= shown


@needs_landlock
@needs_seccomp
def test_a_hard_link_that_lies_in_a_readable_folder_is_readable_and_nowhere_else(programs: Programs) -> None:
    """Landlock decides by the path: what is linked into a readable folder was put there by somebody with the right."""
    outside = programs.root / "hard"
    os.link(programs.root / "labels.txt", outside)
    outcome = try_inside(
        programs,
        f"""
attempt("outside", lambda: open({str(outside)!r}).read())
attempt("in a readable folder", lambda: open({str(programs.modules / "hardlink_elsewhere")!r}).read())
""",
    )
    assert outcome.pop("outside") in CLOSED
    assert outcome == {"in a readable folder": "done"}


@needs_landlock
@needs_seccomp
@alone("landlock+seccomp")
def test_nothing_outside_is_written_changed_or_signalled(programs: Programs, rungs: str) -> None:
    outcome = try_inside(
        programs,
        """
attempt("create", lambda: open(folder + "/result.json", "w"))
attempt("overwrite", lambda: open(labels, "w"))
attempt("truncate", lambda: os.truncate(labels, 0))
attempt("delete", lambda: os.unlink(labels))
attempt("rename", lambda: os.rename(labels, "mine"))
attempt("write what it may read", lambda: open(__file__, "a"))
attempt("chmod", lambda: os.chmod(labels, 0o777))
attempt("chown", lambda: os.chown(labels, 0, 0))
attempt("xattr", lambda: os.setxattr(labels, "user.x", b"1"))
attempt("signal", lambda: os.kill(up, 0))
attempt("priority", lambda: os.setpriority(os.PRIO_PROCESS, up, 19))
import resource
attempt("limits of others", lambda: resource.prlimit(up, resource.RLIMIT_CPU, (1, 1)))
attempt("named pipe", lambda: os.mkfifo("pipe"))
""",
        rungs,
    )
    assert {name for name, result in outcome.items() if result not in CLOSED} == set()
    assert (programs.root / "labels.txt").read_text() == "the labels"


@needs_landlock
@needs_seccomp
def test_no_network_of_any_kind(programs: Programs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        outcome = try_inside(
            programs,
            f"""
attempt("tcp", lambda: socket.create_connection(("127.0.0.1", {port}), 1))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", {port})))
attempt("tcp6", lambda: socket.socket(socket.AF_INET6))
attempt("raw", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("name", lambda: socket.getaddrinfo("example.org", 80))
attempt("pair", lambda: socket.socketpair())
""",
        )
    assert outcome.pop("pair") == "done"
    assert outcome.pop("name") != "done"
    assert set(outcome.values()) == {1}, outcome


@needs_landlock
@needs_seccomp
@alone("landlock", "namespaces", "seccomp")
def test_an_abstract_socket_of_another_process_is_out_of_reach(programs: Programs, rungs: str) -> None:
    name = f"\0swarm-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        outcome = try_inside(
            programs, f"""attempt("connect", lambda: socket.socket(socket.AF_UNIX).connect({name!r}))""", rungs
        )
    assert outcome["connect"] in (1, 111)  # EPERM, or in a network of one's own ECONNREFUSED


@needs_landlock
@needs_seccomp
def test_what_a_training_needs_is_allowed(programs: Programs) -> None:
    outcome = try_inside(
        programs,
        """
import tempfile, subprocess
attempt("own files", lambda: open("notes.txt", "w").write("x"))
attempt("output", lambda: open(folder + "/train_out/weights.pt", "w").write("x"))
attempt("rename own", lambda: os.rename("notes.txt", "other.txt"))
attempt("temporary file", lambda: tempfile.NamedTemporaryFile().write(b"x"))
attempt("random numbers", lambda: open("/dev/urandom", "rb").read(1))
attempt("null", lambda: open("/dev/null", "w").write("x"))
attempt("cpu", lambda: open("/proc/cpuinfo").read())
attempt("own process", lambda: open("/proc/self/status").read())
attempt("subprocess", lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
attempt("signal a child", lambda: subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1).kill())
""",
    )
    assert set(outcome.values()) == {"done"}, outcome


@needs_landlock
@needs_seccomp
@pytest.mark.skipif(turns.turn_s() is None, reason="a kernel before 6.12: long turns are not verified")
def test_a_training_on_the_cpu_has_long_turns_inside_and_cannot_change_them(programs: Programs) -> None:
    attempts = """
from swarm.supervisor import turns
outcome["turn in ms"] = round(1e3 * turns.turn_s())
attempt("class", lambda: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)))
attempt("core", lambda: os.sched_setaffinity(0, {0}))
"""
    readable = (str(ROOT / "swarm"), str(programs.modules))
    assert try_inside(programs, attempts, read=readable) == {"turn in ms": 100, "class": 1, "core": 1}


@needs_landlock
@alone("landlock", "namespaces")
def test_nothing_can_be_left_in_shared_memory_for_the_next_trial(programs: Programs, rungs: str) -> None:
    """Where there are namespaces it can be left, in shared memory of the trial's own."""
    Path("/dev/shm/swarm-test-left-behind").unlink(missing_ok=True)
    outcome = try_inside(programs, """attempt("leave", lambda: open("/dev/shm/swarm-test-left-behind", "w"))""", rungs)
    assert (outcome["leave"] == "done") == (rungs != "landlock" and sandbox.probe().namespaces)
    assert not Path("/dev/shm/swarm-test-left-behind").exists()


@needs_landlock
@needs_seccomp
def test_children_of_a_candidate_are_confined_too(programs: Programs) -> None:
    outcome = try_inside(
        programs,
        """
import subprocess
attempt("child reads", lambda: print(subprocess.run(["cat", labels], capture_output=True, check=False).stdout))
""",
    )
    assert outcome == {"child reads": "done"}
    assert "the labels" not in programs.log()


FACTS = """
import json, os
lines = (line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
status = {name: said.split() for name, said in lines}
spaces = {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}
print(json.dumps({"status": status, "spaces": spaces, "stdin": os.fstat(0).st_size, "umask": os.umask(0)}))
"""


def facts_inside(programs: Programs, rungs: str = "everything") -> dict[str, dict[str, object]]:
    """What the kernel says of a confined process."""
    programs.switch_off(*OTHERS[rungs])
    result = programs.run(programs.phase(FACTS, trusted=False))
    assert result.phases[0].ending == "ok", programs.log()
    facts: dict[str, dict[str, object]] = json.loads(programs.log().splitlines()[-1])
    return facts


@alone("landlock", "seccomp", "namespaces")
def test_nobody_inside_has_a_capability_or_can_gain_one(programs: Programs, rungs: str) -> None:
    status = facts_inside(programs, rungs)["status"]
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert set("".join(status[kind])) == {"0"}, kind
    if os.geteuid() == 0:
        assert set("".join(status["CapBnd"])) == {"0"}
    if rungs != "namespaces":  # which needs no such promise
        assert status["NoNewPrivs"] == ["1"]


@needs_seccomp
def test_the_filter_holds_inside(programs: Programs) -> None:
    assert facts_inside(programs)["status"]["Seccomp"] == ["2"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a trial a user of its own: not verified")
def test_where_we_are_root_a_trial_has_a_user_of_its_own(programs: Programs) -> None:
    status = facts_inside(programs)["status"]
    assert all(int(number) >= 61184 for number in (*status["Uid"], *status["Gid"])) and status["Groups"] == []


@pytest.mark.skipif(not sandbox.probe().namespaces, reason="no namespaces here: they are not verified")
@pytest.mark.parametrize("name", ["pid", "ipc", "net", "mnt", "uts"])
def test_nothing_outside_is_in_its_namespaces(programs: Programs, name: str) -> None:
    spaces = facts_inside(programs)["spaces"]
    assert spaces[name] != str(Path(f"/proc/self/ns/{name}").readlink())


@pytest.mark.skipif(not sandbox.probe().namespaces, reason="no namespaces here: a root of its own is not verified")
def test_a_root_of_its_own_is_read_only_but_for_what_it_may_write(programs: Programs) -> None:
    outcome = try_inside(
        programs,
        """
attempt("a folder in the root", lambda: os.mkdir("/new"))
attempt("what it may read", lambda: open(__file__, "a"))
attempt("a system folder", lambda: open("/usr/new", "w"))
attempt("a folder on the way to its own", lambda: open(os.path.dirname(folder) + "/new", "w"))
attempt("its own", lambda: open(folder + "/train_out/new", "w"))
""",
        "namespaces",
    )
    assert outcome.pop("its own") == "done"
    assert {name for name, result in outcome.items() if result not in CLOSED} == set()


def test_the_level_reached_is_recorded(programs: Programs) -> None:
    result = programs.run(programs.phase("pass", trusted=False), programs.phase("pass", "score"))
    assert result.sandbox == sandbox.probe()


def test_a_sandbox_that_is_off_is_recorded_as_none(programs: Programs) -> None:
    result = programs.run(programs.phase("pass", trusted=False), sandbox="none")
    assert (result.sandbox.level, result.sandbox.network) == ("none", "open")


@pytest.mark.parametrize(
    ("report", "named"),
    [
        (SandboxReport("none"), "Landlock version 3"),
        (SandboxReport("landlock+seccomp", 2, True), "found: version 2"),
        (SandboxReport("landlock", 7, False), "seccomp"),
    ],
)
def test_strict_names_what_is_missing(report: SandboxReport, named: str) -> None:
    with pytest.raises(SandboxError, match=named):
        require(report)


def test_a_process_with_threads_is_refused() -> None:
    source = (
        "import threading, time; from swarm import sandbox; from swarm.errors import SandboxError\n"
        "threading.Thread(target=time.sleep, args=(1,)).start()\n"
        "try: sandbox.apply(sandbox.SandboxPolicy(), 'auto')\n"
        "except SandboxError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "has 2: others stay outside" in ran.stdout


@pytest.mark.parametrize("needs", [Needs(), Needs(processes=False), Needs(gpu=True, only_pid=4242)], ids=str)
@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_the_filter_is_well_formed_on_both_architectures(architecture: str, needs: Needs) -> None:
    program = seccomp.assemble(architecture, needs)
    assert len(program) < 4096
    for index, instruction in enumerate(program[:-1]):
        assert index + 1 + max(instruction.jt, instruction.jf) < len(program)
    numbers = calls.allowed(architecture, needs)
    assert len(numbers) == len(set(numbers))
    assert not set(numbers) & {rule.number for rule in calls.rules(architecture, needs)}


@pytest.mark.slow
@needs_landlock
def test_torch_trains_inside_under_a_memory_limit(programs: Programs) -> None:
    source = """
        import torch
        torch.set_num_threads(1)
        model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3))
        images = torch.randn(16, 3, 32, 32)
        model(images).square().mean().backward()
        torch.save(model.state_dict(), '../train_out/weights.pt')
        torch.load('../train_out/weights.pt', weights_only=True)
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images), 4)
        print('trained', sum(len(batch[0]) for batch in loader), flush=True)
        try:
            torch.empty(3 << 30, dtype=torch.uint8).fill_(1)
        except RuntimeError as error:
            print("can't allocate memory" in str(error))
    """
    phase = programs.phase(source, trusted=False, walltime_limit_s=110.0)
    result = finish(programs.launch(programs.spec(phase, sandbox="strict", memory_limit_mib=2000)), limit_s=115.0)
    assert result.phases[0].ending == "ok", programs.log()
    assert programs.log().splitlines()[-2:] == ["trained 16", "True"]


@pytest.mark.slow
@pytest.mark.skipif(not sandbox.probe().namespaces, reason="no namespaces here: workers of a loader are not verified")
def test_workers_of_a_data_loader_work_where_there_are_namespaces(programs: Programs) -> None:
    source = """
        import torch
        from torch.utils.data import DataLoader, TensorDataset
        images = torch.randn(64, 3, 32, 32)
        if __name__ == "__main__":
            loader = DataLoader(TensorDataset(images), 16, num_workers=2)
            print('loaded', sum(len(batch[0]) for batch in loader), images.share_memory_().is_shared(), flush=True)
    """
    phase = programs.phase(source, trusted=False, walltime_limit_s=110.0)
    result = finish(programs.launch(programs.spec(phase, sandbox="strict", memory_limit_mib=4000)), limit_s=115.0)
    assert result.phases[0].ending == "ok", programs.log()
    assert programs.log().splitlines()[-1] == "loaded 64 True"


def ordinary_user_finds_namespaces(*, dumpable: int) -> bool:
    if (pid := os.fork()) == 0:
        found = False
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            prctl(PR_SET_DUMPABLE, dumpable)
            found = namespaces.available.__wrapped__()  # it has been asked as root, and would remember
        finally:
            os._exit(0 if found else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be an ordinary user for once: not verified")
def test_an_ordinary_users_supervisor_finds_the_namespaces_that_its_phases_may_make() -> None:
    if not ordinary_user_finds_namespaces(dumpable=1):
        pytest.skip("no namespaces for an ordinary user here: not verified")
    assert ordinary_user_finds_namespaces(dumpable=0)
