"""What a CUDA start opens and calls, by the lists in tests/data/cuda, against the rules that are really enforced.

There is no card here: the nodes and files of a driver are made in a temporary tree, the policy's paths are moved into
it as they stand, and a confined process opens each. So a path that is taken out of the policy is refused here.
"""

import itertools
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from fakes import opens_inside
from fakes.kernel_filter import ALLOW, PRETEND, answer

from swarm import sandbox
from swarm.sandbox import SandboxPolicy, calls, candidate_policy
from swarm.sandbox.calls import Needs
from swarm.sandbox.policy import gpu_devices

LISTS = Path(__file__).parents[2] / "data" / "cuda"
OPENED = sorted(LISTS.glob("paths-*.txt"))
REPOSITORY = Path(__file__).parents[3]
SCRATCH = "scratch/"
OWN = "/proc/self/"
CLOSED = (1, 2, 13, 18, 30)
RUNGS = {"everything": [], "landlock": ["namespaces", "user"], "namespaces": ["landlock"]}
"""Which rungs are taken away, so that the others have to let it through, and to hold, alone."""
FORBIDDEN = (
    ("r", "/proc/1/environ"), ("r", "/proc/kcore"), ("rw", "/dev/mem"), ("rw", "/dev/kmsg"), ("rw", "/dev/fuse"),
    ("r", "/etc/shadow"), ("r", str(Path.home() / ".nv/ComputeCache/index")), ("rw", "/tmp/nvidia-mps/control"),
    ("rw", "/proc/sys/kernel/core_pattern"), ("rw", "/sys/module/nvidia/version"),
    ("rw", "/proc/driver/nvidia/registry"), ("w", "/usr/lib/x86_64-linux-gnu/libcuda.so.1"),
)  # fmt: skip
needs_walls = pytest.mark.skipif(
    sandbox.probe().landlock_abi < 3 or not sandbox.probe().namespaces,
    reason="no Landlock 3 or no namespaces here: what they let through is not verified",
)


def lines(path: Path) -> Iterator[list[str]]:
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            yield line.split()


def wanted(path: Path) -> list[tuple[str, str]]:
    return [(words[0], words[1]) for words in lines(path)]


class Machine:
    """A tree that looks like a machine with a card, a policy for it, and a process confined by that policy."""

    def __init__(self, root: Path) -> None:
        self.root = root / "machine"
        self.scratch = root / "scratch"
        self.scratch.mkdir()
        self.root.mkdir()
        root.chmod(0o755)

    def add(self, access: str, path: str, mode: int = 0o666) -> None:
        file = self.root / path.lstrip("/")
        if path.startswith((SCRATCH, OWN)) or file.exists():
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        if path.startswith("/dev/") and os.geteuid() == 0:
            os.mknod(file, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # as /dev/null: opening it asks a driver
        else:
            file.touch()
        file.chmod(mode if access == "rw" else 0o644)

    def policy(self, *, gpu: bool = True) -> SandboxPolicy:
        """As a trial here would get it, and each of its places once more below the tree."""
        real = candidate_policy((str(REPOSITORY),), (str(self.scratch),), own=(str(self.scratch),), gpu=gpu)
        nodes = gpu_devices(self.root / "dev") if gpu else ()
        moved = tuple(str(self.root / path.lstrip("/")) for path in real.read)
        return replace(real, read=(*real.read, *moved), devices=(*real.devices, *nodes))

    def opens(self, asked: list[tuple[str, str]], policy: SandboxPolicy, without: list[str]) -> dict[str, str | int]:
        places = {self._place(path): path for _, path in asked}
        order = {
            "policy": asdict(policy),
            "without": without,
            "folder": str(self.scratch),
            "opens": [(access, self._place(path)) for access, path in asked],
        }
        written = self.root.parent / "order.json"
        written.write_text(json.dumps(order))
        command = [sys.executable, "-P", "-s", opens_inside.__file__, str(written)]
        done = subprocess.run(
            command, env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        self.level, self.detail, self.held = said["level"], said["detail"], said["held"]
        return {places[path]: found for path, found in said["outcome"].items()}

    def _place(self, path: str) -> str:
        if path.startswith(OWN):
            return path
        if path.startswith(SCRATCH):
            return str(self.scratch / path.removeprefix(SCRATCH))
        return str(self.root / path.lstrip("/"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@needs_walls
@pytest.mark.parametrize("rungs", RUNGS)
def test_everything_that_a_start_of_cuda_opens_can_be_opened(machine: Machine, rungs: str) -> None:
    asked = list(dict.fromkeys(itertools.chain.from_iterable(wanted(path) for path in OPENED)))
    for access, path in asked:
        machine.add(access, path)
    found = machine.opens(asked, machine.policy(), RUNGS[rungs])
    assert {path: result for path, result in found.items() if result != "done"} == {}
    assert set(RUNGS[rungs]).isdisjoint(machine.level.split("+"))


@needs_walls
@pytest.mark.parametrize("rungs", RUNGS)
def test_nothing_else_is_opened_for_it(machine: Machine, rungs: str) -> None:
    for access, path in FORBIDDEN:
        machine.add(access, path)
    found = machine.opens(list(FORBIDDEN), machine.policy(), RUNGS[rungs])
    # With a root of its own alone it is the file system that says no; ordinary files are then not there at all.
    assert {path: result for path, result in found.items() if result not in CLOSED} == {}


@needs_walls
@pytest.mark.parametrize("rungs", ["everything", "landlock"])
def test_a_trial_on_the_cpu_names_no_threads_and_sees_no_driver(machine: Machine, rungs: str) -> None:
    asked = [*wanted(LISTS / "paths-570.txt"), ("rw", "/dev/nvidia0"), ("r", "/proc/sys/vm/mmap_min_addr")]
    for access, path in asked:
        machine.add(access, path)
    found = machine.opens(asked, machine.policy(gpu=False), RUNGS[rungs])
    assert {path: result for path, result in found.items() if result not in CLOSED} == {}


@needs_walls
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a trial a user of its own: not verified")
def test_a_node_that_others_may_not_open_costs_a_rung_and_not_the_trial(machine: Machine) -> None:
    machine.add("rw", "/dev/nvidia0", 0o664)
    found = machine.opens([("rw", "/dev/nvidia0")], machine.policy(), [])
    assert found == {"/dev/nvidia0": "done"}
    assert machine.level == "namespaces+landlock+seccomp"
    assert f"no user of its own, to whom {machine.root}/dev/nvidia0 (crw-rw-r--) would be closed" in machine.detail


@needs_walls
def test_its_own_entries_in_proc_are_held_open(machine: Machine) -> None:
    """Or the kernel drops them when memory is short, and no rule knows those that it makes next: after that, tried with
    `drop_caches`, even /proc/self/status was closed."""
    machine.opens([], machine.policy(), [])
    own = [path.removeprefix("/proc/") for path in machine.held if path.startswith("/proc/")]
    assert any(path.isdigit() for path in own) and any(path.endswith("/task") for path in own)


def test_a_driver_that_lies_elsewhere_is_found_by_the_path_of_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "driver").mkdir()
    (tmp_path / "driver" / "libcuda.so.1").touch()
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}/home:{tmp_path}/driver::relative")
    read = candidate_policy((), (), gpu=True).read
    assert f"{tmp_path}/driver" in read and f"{tmp_path}/home" not in read
    assert f"{tmp_path}/driver" not in candidate_policy((), (), gpu=False).read


@pytest.mark.parametrize("machine_name", ["x86_64", "aarch64"])
@pytest.mark.parametrize("sockets", [False, True])
def test_every_call_that_cuda_makes_is_let_through(machine_name: str, sockets: bool) -> None:
    needs = Needs(processes=True, gpu=True, sockets=sockets)
    refused = []
    for name, *rest in lines(LISTS / "calls.txt"):
        number = calls.number(name, machine_name)
        places = dict(word.split("=") for word in rest if word[0].isdigit() and "=" in word)
        arguments = [int(places.get(str(place), "0"), 0) for place in range(6)]
        if number != calls.NONE and answer(machine_name, needs, number, *arguments) not in (ALLOW, PRETEND):
            refused.append((name, arguments))
    assert refused == []


@pytest.mark.parametrize("machine_name", ["x86_64", "aarch64"])
def test_what_is_said_to_be_refused_is(machine_name: str) -> None:
    needs = Needs(processes=True, gpu=True)
    for name, *_ in lines(LISTS / "calls-refused.txt"):
        try:
            number = calls.number(name, machine_name)
        except KeyError:  # in no list
            continue
        assert answer(machine_name, needs, number) not in (ALLOW, PRETEND), name


def test_every_list_says_that_it_was_not_seen_here() -> None:
    for path in LISTS.glob("*.txt"):
        head = " ".join(line for line in path.read_text().splitlines() if line.startswith("#")).replace("# ", "")
        assert "not seen on a card here" in head, path.name
        assert all(len(words) > 1 for words in lines(path)), f"{path.name}: a line without its source"
