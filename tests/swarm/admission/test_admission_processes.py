"""Admission between real processes: host memory plays the card, rlimits the caps, kill -9 the crash."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from factories.admission import granted
from fakes import failpoints, fake_worker
from fakes.fake_card import FakeCard
from fakes.fake_worker import LIMITS, ask, controller, start

from swarm.admission import AdmissionController, Observed, OomReport
from swarm.clock import SystemClock
from swarm.gpu import CpuProbe

FAILPOINTS = tuple(failpoints.names("admission"))

WORKER = Path(fake_worker.__file__)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "card"
    made.mkdir()
    yield made
    for path in made.glob("*.pid"):
        try:
            os.kill(int(path.read_text()), signal.SIGKILL)
        except (ProcessLookupError, ValueError):
            continue


def worker(*arguments: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(WORKER.parent.parent), *sys.path])}
    return subprocess.Popen([sys.executable, str(WORKER), *arguments], env=env, stdout=subprocess.PIPE, text=True)


def steps(folder: Path, name: str) -> list[float]:
    path = folder / f"{name}.steps"
    return [float(line.split()[1]) for line in path.read_text().splitlines()] if path.exists() else []


def until(condition: Callable[[], bool], what: str, limit_s: float = 30.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_two_of_three_large_trainers_run_and_the_third_waits(root: Path, folder: Path) -> None:
    first, second, third = (controller(root, folder) for _ in range(3))
    leases = [granted(c.request(ask(name))) for c, name in ((first, "a"), (second, "b"))]
    processes = [start(lease, folder, name, 10_000, 7_000) for lease, name in zip(leases, "ab", strict=True)]
    until(lambda: len(steps(folder, "a")) > 12 and len(steps(folder, "b")) > 12, "both train at their peak")
    ticket = third.request(ask("c"))
    assert ticket.poll() is None
    assert "8200 leased by trial a of worker, 8200 leased by trial b of worker" in ticket.why
    assert FakeCard(folder).read()[0].free_mib < 24_100 - 14_000
    (folder / "a.stop").touch()
    assert processes[0].wait(20) == 0
    leases[0].release(Observed(peak_mib=7_000))
    lease = granted(ticket, within_s=20)
    last = start(lease, folder, "c", 15, 7_000)
    assert last.wait(20) == 0
    (folder / "b.stop").touch()
    assert processes[1].wait(20) == 0


def test_an_over_user_dies_at_its_cap_and_its_neighbour_never_pauses(root: Path, folder: Path) -> None:
    mine = controller(root, folder)
    good, bad = (granted(mine.request(ask(name))) for name in ("good", "bad"))
    steady = start(good, folder, "good", 10_000, 7_000)
    until(lambda: len(steps(folder, "good")) > 12, "the neighbour trains")
    greedy = start(bad, folder, "bad", 100, 3 * 7_600)
    assert greedy.wait(20) == 11
    died = time.monotonic()
    until(lambda: steps(folder, "good")[-1] > died + 0.2, "the neighbour goes on")
    times = steps(folder, "good")
    assert max(later - earlier for earlier, later in pairwise(times)) < 1.0
    released = bad.release(Observed(peak_mib=bad.cap_mib, out_of_memory=True))
    assert released.ending == "own_cap"
    (folder / "good.stop").touch()
    assert steady.wait(20) == 0


def test_half_a_second_of_spike_kills_nobody(root: Path, folder: Path) -> None:
    mine = controller(root, folder)
    leases = {name: granted(mine.request(ask(name))) for name in ("a", "b")}
    neighbour = start(leases["b"], folder, "b", 10_000, 7_000)
    # Uncapped, as memory that is taken around the allocator is.
    spiking = subprocess.Popen(
        [sys.executable, str(fake_worker.TRAINER), str(folder), "a", "25", "7000", "9000"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        pass_fds=(leases["a"].lock_fd,),
    )
    leases["a"].bind(spiking.pid)
    least, kills = 24_100, []
    while spiking.poll() is None:
        kills += [kill for lease in leases.values() if (kill := lease.poll()) is not None]
        least = min(least, FakeCard(folder).read()[0].free_mib)
        time.sleep(0.02)
    assert least < 1_100
    assert kills == []
    assert spiking.returncode == 0
    (folder / "b.stop").touch()
    assert neighbour.wait(20) == 0


def test_workers_in_processes_of_their_own_share_one_ledger(root: Path, folder: Path) -> None:
    workers = [worker("jobs", str(root), str(folder), name, "2") for name in ("a", "b", "c")]
    runs = [json.loads(line) for process in workers for line in process.communicate(timeout=60)[0].splitlines()]
    assert len(runs) == 6
    assert all(run["rc"] == 0 for run in runs)
    edges = sorted([(run["began"], 1) for run in runs] + [(run["ended"], -1) for run in runs])
    running = most = 0
    for _, change in edges:
        running += change
        most = max(most, running)
    assert most == 2


def check_crashes(root: Path, folder: Path, names: tuple[str, ...], what: str = "kill") -> list[dict[str, object]]:
    process = worker("crash", str(root), str(folder), ",".join(names), what)
    found = [json.loads(line) for line in process.communicate(timeout=110)[0].splitlines()]
    assert [result["name"] for result in found] == list(names)
    for result in found:
        assert result["granted"], result
        assert result["left"] == [], result
        assert result["held_while_alive"] in (None, True), result
    return found


def test_a_kill_at_any_failpoint_leaks_nothing(root: Path, folder: Path) -> None:
    found = check_crashes(root, folder, FAILPOINTS)
    assert [result["name"] for result in found if result["code"] != -signal.SIGKILL] == []
    assert any(result["held_while_alive"] for result in found)


def test_a_failed_write_at_any_failpoint_leaks_nothing(root: Path, folder: Path) -> None:
    found = check_crashes(root, folder, FAILPOINTS, "error")
    assert [result["name"] for result in found if result["code"] != 3] == []


@pytest.mark.chaos
@pytest.mark.timeout(1200)
def test_two_hundred_kills_and_failed_writes_at_random_leak_nothing(root: Path, folder: Path) -> None:
    """On one ledger, in an order drawn by chance, so that each round meets what the one before has left."""
    chance = random.Random(0)
    for _ in range(20):
        names = tuple(chance.choices(FAILPOINTS, k=10))
        check_crashes(root, folder, names, chance.choice(("kill", "error")))


@pytest.mark.chaos
@pytest.mark.timeout(1200)
def test_two_hundred_kills_at_random_moments_leak_nothing(root: Path, folder: Path) -> None:
    """Two workers go through whole cycles at once; one of them is killed wherever it happens to be."""
    chance, killed = random.Random(1), 0
    other = worker("cycles", str(root), str(folder), "other")
    try:
        for round_ in range(200):
            victim = fake_worker.in_background(lambda: fake_worker.cycles(root, folder, "victim"))
            time.sleep(chance.uniform(0.0, 0.25))
            os.kill(victim, signal.SIGKILL)
            killed += os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1]) == -signal.SIGKILL
            fake_worker.end_child(folder, "victim")
            assert other.poll() is None, f"the other worker died in round {round_}"
    finally:
        other.terminate()
        other.communicate(timeout=20)
        fake_worker.end_child(folder, "other")
    assert killed == 200
    lease = granted(fake_worker.steady(root).request(ask("all", 16_000 - 512)), within_s=5)
    lease.release()
    assert fake_worker.litter(root) == []


def test_after_device_ooms_and_a_restart_two_run_at_once_again(root: Path, folder: Path) -> None:
    def suffer() -> None:
        mine = controller(root, folder)
        for _ in range(2):
            pair = [granted(mine.request(ask(name))) for name in ("a", "b")]
            pair[0].release(Observed(out_of_memory=True, report=OomReport(100, 10, 7_600, 0)))
            pair[1].release()
        granted(mine.request(ask("a", 1_000)))
        assert mine.request(ask("b", 1_000)).poll() is None, "one slot fewer"
        os.kill(os.getpid(), signal.SIGKILL)

    assert fake_worker.in_a_child(suffer) == -signal.SIGKILL
    fresh = controller(root, folder)
    leases = [fresh.request(ask(name)).poll() for name in "ab"]
    running = [start(lease, folder, name, 10_000, 7_000) for lease, name in zip(leases, "ab", strict=True) if lease]
    until(lambda: len(running) == 2 and all(len(steps(folder, name)) > 12 for name in "ab"), "both train at once")
    for process, name in zip(running, "ab", strict=True):
        (folder / f"{name}.stop").touch()
        assert process.wait(20) == 0


def test_orphans_of_a_dead_supervisor_are_killed_and_their_lease_is_reclaimed(root: Path, folder: Path) -> None:
    def abandon() -> None:
        lease = granted(fake_worker.steady(root).request(ask("a", 9_000)))
        script = f"sleep 60 & echo $! > {folder}/orphan.pid; wait"
        supervisor = subprocess.Popen(["sh", "-c", script], pass_fds=(lease.lock_fd,), start_new_session=True)
        lease.bind(supervisor.pid)
        until(lambda: _has(folder / "orphan.pid"), "the supervisor has started its child")
        supervisor.kill()
        supervisor.wait()
        os.kill(os.getpid(), signal.SIGKILL)

    assert fake_worker.in_a_child(abandon) == -signal.SIGKILL
    orphan = int((folder / "orphan.pid").read_text())
    ticket = fake_worker.steady(root).request(ask("b", 9_000))
    granted(ticket, within_s=10)
    assert not Path(f"/proc/{orphan}").exists() or " Z " in Path(f"/proc/{orphan}/stat").read_text()


def _has(path: Path) -> bool:
    return path.exists() and path.read_text().strip() != ""


def test_the_machines_own_memory_admits_too(root: Path) -> None:
    mine = AdmissionController(root, CpuProbe(), SystemClock(), LIMITS)
    lease = granted(mine.request(ask("a", 256)), within_s=5)
    assert lease.poll() is None
    assert lease.release(Observed(peak_mib=100)).ending == "clean"
