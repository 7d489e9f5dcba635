"""Workers of the admission tests, in processes of their own.

python fake_worker.py jobs ROOT FOLDER NAME COUNT          COUNT trainers of 7.6 GB one after the other
python fake_worker.py cycles ROOT FOLDER NAME              whole cycles without end, until it is killed
python fake_worker.py crash ROOT FOLDER NAME[,NAME...]     die at each of these failpoints, and look what is left
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from factories.admission import granted
from fakes.fake_card import FakeCard
from fakes.steady_probe import RAM, SteadyProbe

from swarm.admission import AdmissionController, Lease, Observed, OomReport, Request
from swarm.clock import SystemClock
from swarm.gpu import HostLimits

LIMITS = HostLimits(cpu_slots=64, ram_mib=64_000)
TRAINER = Path(__file__).parent / "fake_card.py"


def controller(root: Path, folder: Path) -> AdmissionController:
    return AdmissionController(root, FakeCard(folder), SystemClock(), LIMITS)


def ask(name: str, memory_mib: int = 8200, **more: object) -> Request:
    return Request("worker", name, "study", 60.0, memory_mib=memory_mib, **more)  # type: ignore[arg-type]


def start(lease: Lease, folder: Path, name: str, *sizes: int) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, str(TRAINER), str(folder), name, *(str(size) for size in sizes)]
    env = {**os.environ, "FAKE_CAP_MIB": str(lease.cap_mib), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(arguments, env=env, pass_fds=(lease.lock_fd,))
    lease.bind(process.pid)
    return process


def jobs(root: Path, folder: Path, name: str, count: int) -> None:
    mine = controller(root, folder)
    for index in range(count):
        lease = granted(mine.request(ask(f"{name}{index}")), within_s=60)
        began = time.monotonic()
        process = start(lease, folder, f"{name}{index}", 11, 7000)
        while process.poll() is None:
            lease.poll()
            time.sleep(0.02)
        ended = time.monotonic()
        lease.release(Observed(peak_mib=7000, failed=process.returncode != 0))
        print(json.dumps({"began": began, "ended": ended, "rc": process.returncode}), flush=True)


def steady(root: Path) -> AdmissionController:
    """On a device that returns its memory at once, so that what is left after a crash can be judged at once."""
    return AdmissionController(root, SteadyProbe(RAM), SystemClock(), LIMITS)


def whole_cycle(root: Path, folder: Path, *, child: list[str], name: str = "child", wait_s: float = 0.0) -> None:
    """Everything that writes to the ledger: reclaim, wait, backfill, bind, heartbeat, an incident, release."""
    mine = steady(root)
    head = mine.request(ask("head", 15_000))
    other = mine.request(ask("first", 9_000, alone=False))
    lease = other.poll() or head.poll() or granted(head, wait_s)
    process = subprocess.Popen(child, pass_fds=(lease.lock_fd,), start_new_session=True)
    (folder / f"{name}.pid").write_text(str(process.pid))
    lease.bind(process.pid)
    backfilled = mine.request(ask("short", 100, code_sha256="short")).poll()
    lease.poll()
    process.kill()
    process.wait()
    (folder / f"{name}.pid").unlink()
    lease.release(Observed(peak_mib=8_000, out_of_memory=True, report=OomReport(100, 50, 8_000, 0)))
    if backfilled is not None:
        backfilled.release(Observed(peak_mib=50))
    for ticket in (head, other):
        ticket.withdraw()


def cycles(root: Path, folder: Path, name: str) -> None:
    while True:
        whole_cycle(root, folder, child=["sleep", "60"], name=name, wait_s=60.0)


def end_child(folder: Path, name: str) -> None:
    """What outlived its worker, as its supervisor would have ended it."""
    survivor = folder / f"{name}.pid"
    if survivor.exists() and (text := survivor.read_text()):
        with suppress(ProcessLookupError):
            os.kill(int(text), signal.SIGKILL)
    survivor.unlink(missing_ok=True)


def in_background(action: Callable[[], None]) -> int:
    """The pid of a fork that runs it."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
        except OSError:
            os._exit(3)
        os._exit(0)
    return pid


def in_a_child(action: Callable[[], None]) -> int:
    """Run it in a fork of its own; minus the signal that ended it, or its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(in_background(action), 0)[1])


def leave_a_dead_lease(root: Path) -> None:
    def die() -> None:
        granted(steady(root).request(ask("dead", 5_000)))
        os.kill(os.getpid(), signal.SIGKILL)

    in_a_child(die)


def crash(root: Path, folder: Path, name: str, what: str = "kill") -> dict[str, object]:
    """One death (or one failed write) at a failpoint, and what a newcomer finds."""
    leave_a_dead_lease(root)

    def die() -> None:
        os.environ["SWARM_FAILPOINT"] = f"{name}:{what}"
        with open(os.devnull, "w") as silence:  # noqa: PTH123
            os.dup2(silence.fileno(), 2)
        whole_cycle(root, folder, child=["sleep", "60"])

    code = in_a_child(die)
    survivor = folder / "child.pid"
    held_while_alive = None
    if survivor.exists():
        newcomer = steady(root).request(ask("newcomer", 15_900 - 512))
        held_while_alive = newcomer.poll() is None
        newcomer.withdraw()
        os.kill(int(survivor.read_text()), signal.SIGKILL)
        _wait_gone(int(survivor.read_text()))
        survivor.unlink()
    lease = steady(root).request(ask("all", 16_000 - 512)).poll()
    granted = lease is not None
    if lease is not None:
        lease.release()
    left = litter(root)
    return {"name": name, "code": code, "held_while_alive": held_while_alive, "granted": granted, "left": left}


def litter(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and _is_litter(path))


def _is_litter(path: Path) -> bool:
    return path.name not in ("ledger.lock", "flock.selftest", "history.jsonl", "device.json")


def _wait_gone(pid: int) -> None:
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]:
        time.sleep(0.002)


if __name__ == "__main__":
    mode, root, folder, name, *rest = sys.argv[1:]
    if mode == "jobs":
        jobs(Path(root), Path(folder), name, int(rest[0]))
    elif mode == "cycles":
        cycles(Path(root), Path(folder), name)
    else:
        for one in name.split(","):
            print(json.dumps(crash(Path(root), Path(folder), one, *rest)), flush=True)
