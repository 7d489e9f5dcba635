"""A study over a Ray cluster of a head and two nodes on this machine, and what is done to them."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from fakes.tiny_study import TinyStudy, make_tiny_study, stopped_at_the_end

from swarm.admission.status import status
from swarm.brain.lines import decode
from swarm.brain.tail import Tail
from swarm.clock import SystemClock
from swarm.errors import NodeError
from swarm.execution.account import read_notes
from swarm.execution.executor import Outcome
from swarm.gpu import CpuProbe
from swarm.nodes.host import NODES, ExchangeHost, driver_address, nodes_address, read_address
from swarm.nodes.remote import RemoteExecutor
from swarm.nodes.serving import launcher_command, own_address, terms_of
from swarm.nodes.values import NodeSeen
from swarm.orchestrator.settings_file import load_settings
from swarm.records import TrialStarted
from swarm.study.settings import Layout
from swarm.study.state import StudyState
from swarm.trial.contract import code_root
from swarm.trial.folder import TrialFolder

pytest.importorskip("ray", reason="the extra [ray] is not installed: nothing is verified over Ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Cluster:
    """Started as people start one: `ray start`, with a token; each raylet is a node."""

    def __init__(self, folder: Path) -> None:
        self._environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_memory_monitor_refresh_ms": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": "300",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
            "SWARM_GPU_DIR": str(folder / "ledger"),
            "RAY_TMPDIR": "/tmp",
        }
        self.ours: dict[str, str] = {name: self._environment[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
        self.address = f"{own_address('')}:{_free_port()}"
        self.head = self.start("--head", "--port", self.address.rpartition(":")[2], "--include-dashboard=false")

    def start(self, *arguments: str, **surroundings: str) -> int:
        """One raylet more; its process id."""
        before = set(raylets())
        host = self.address.rpartition(":")[0]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--num-cpus=1", "--node-ip-address", host]
        started = [*command, "--object-store-memory=80000000", *arguments]
        environment = {**self._environment, **surroundings}
        subprocess.run(started, env=environment, check=True, capture_output=True, timeout=400)
        return next(iter(set(raylets()) - before))

    def node(self, **surroundings: str) -> int:
        return self.start("--address", self.address, **surroundings)

    def die(self) -> None:
        """The head's processes and all that runs below them, at once."""
        stores = (p for p in psutil.process_iter(["name"]) if p.info["name"] == "gcs_server" and self._is_ours(p))
        head = [*everything_of(self.head), *stores]
        for process in head:
            process.kill()

    def stop(self) -> None:
        for process in psutil.process_iter():
            if process.pid != os.getpid() and self._is_ours(process):
                process.kill()

    def _is_ours(self, process: psutil.Process) -> bool:
        """Another cluster on this machine is another's."""
        try:
            return process.environ().get("RAY_AUTH_TOKEN") == self.ours["RAY_AUTH_TOKEN"]
        except psutil.Error:
            return False


def _free_port() -> int:
    import socket

    with socket.socket() as asked:
        asked.bind(("", 0))
        return int(asked.getsockname()[1])


def raylets() -> list[int]:
    return [process.pid for process in psutil.process_iter(["name"]) if process.info["name"] == "raylet"]


def everything_of(raylet: int) -> list[psutil.Process]:
    """A node: the raylet, its agent, and the trials that run below."""
    process = psutil.Process(raylet)
    return [process, *process.children(recursive=True)]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.stop()


def seen(tiny: TinyStudy) -> list[NodeSeen]:
    layout = Layout(root=tiny.root)
    for folder in (layout.runtime / "studies").glob("*"):
        try:
            address = read_address(driver_address(layout, folder.name))
            return NODES.validate_json(address.caller()("nodes", b""))
        except NodeError:
            continue
    return []


def wait_until(condition: Callable[[], bool], limit_s: float = 150.0) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit_s, "not reached"
        time.sleep(0.1)
    return time.monotonic() - began


def working(tiny: TinyStudy) -> set[str]:
    return {node.facts.name for node in seen(tiny) if node.state == "working"}


def starts(tiny: TinyStudy) -> list[TrialStarted]:
    records = [decode(line.raw) for line in Tail(tiny.brain).new_lines()]
    return [record for record in records if isinstance(record, TrialStarted)]


def one_ending_each(study: StudyState, tiny: TinyStudy) -> None:
    lines = tiny.brain.read_text().splitlines()
    claimed = [line for line in lines if '"kind":"proposal_claimed"' in line]
    ended = [line for line in lines if '"kind":"trial_finished"' in line]
    assert len(claimed) == len(ended) == len(study.trials)


def test_nodes_are_killed_frozen_and_lose_their_driver_and_each_trial_has_one_ending(
    tmp_path: Path, cluster: Cluster
) -> None:
    tiny = make_tiny_study(tmp_path, samples=60_000, walltime_limit_s=400)
    second = cluster.node()
    asked = ("--executor", f"ray:{cluster.address}", "--trials", "14", "--no-finals")
    up = tiny.start(*asked, **cluster.ours)
    told: dict[str, float] = {}
    try:
        told["both work"] = wait_until(lambda: len(working(tiny)) == 2)
        agents = {node.facts.name: node.facts.pid for node in seen(tiny)}
        lost = next(name for name, pid in agents.items() if pid in {p.pid for p in everything_of(second)})
        trial = next(node.runs[0] for node in seen(tiny) if node.facts.name == lost)
        for process in everything_of(second):
            process.kill()
        told["killed node's trial runs elsewhere"] = wait_until(
            lambda: any(start.trial_id == trial and start.node != lost for start in starts(tiny))
        )
        cluster.node()
        told["two nodes again"] = wait_until(lambda: len(working(tiny)) == 2)
        frozen = next(node for node in seen(tiny) if node.state == "working")
        os.kill(frozen.facts.pid, signal.SIGSTOP)
        told["frozen node's trial runs elsewhere"] = wait_until(
            lambda: any(frozen.runs[0] in node.runs and node.facts.name != frozen.facts.name for node in seen(tiny))
        )
        os.kill(frozen.facts.pid, signal.SIGCONT)
        told["it works again"] = wait_until(lambda: frozen.facts.name in working(tiny))
        up.kill()
        up.wait()
        up = tiny.start("--resume", **cluster.ours)
        assert up.wait(400) == 0
    finally:
        with stopped_at_the_end(up):
            pass
    study = tiny.study()
    one_ending_each(study, tiny)
    assert {start.node for start in starts(tiny)} == {frozen.facts.name, *agents}
    assert [trial.reason for trial in study.trials.values() if trial.reason is not None] == []
    print({what: round(seconds, 1) for what, seconds in told.items()})


def test_the_head_dies_and_the_study_goes_on_when_it_is_back(tmp_path: Path, cluster: Cluster) -> None:
    tiny = make_tiny_study(tmp_path, samples=60_000, walltime_limit_s=400)
    up = tiny.start("--executor", f"ray:{cluster.address}", "--trials", "8", "--no-finals", **cluster.ours)
    with stopped_at_the_end(up):
        wait_until(lambda: len(working(tiny)) == 1)
        cluster.die()
        wait_until(lambda: working(tiny) == set())
        cluster.head = cluster.start(
            "--head", "--port", cluster.address.rpartition(":")[2], "--include-dashboard=false"
        )
        back = wait_until(lambda: len(working(tiny)) == 1)
        assert up.wait(400) == 0
    one_ending_each(tiny.study(), tiny)
    print({"head back and a node works": round(back, 1)})


class Ledger:
    """One node's, looked at while it works."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.most = 0
        self.over: list[str] = []

    def look(self) -> None:
        if not self.root.exists():
            return
        seen = status(self.root, CpuProbe())
        running = seen.cpu_slots - seen.free_cpu_slots
        self.most = max(self.most, running)
        for device in seen.devices:
            if device.committed_mib > device.total_mib or running > seen.cpu_slots:
                self.over.append(
                    f"{device.committed_mib} of {device.total_mib} MiB, {running} of {seen.cpu_slots} slots"
                )


def test_a_study_of_twenty_trials_on_two_nodes_has_the_numbers_that_it_has_here(
    tmp_path: Path, cluster: Cluster
) -> None:
    """A budget of samples and the same seeds: bit for bit the same scores, image by image the same losses."""
    tiny = make_tiny_study(tmp_path, samples=3_000)
    done = tiny.up("--trials", "20", "--no-finals", "--workers", "2", timeout=800)
    assert done.returncode == 0, done.stderr
    study, layout = tiny.study(), Layout(root=tiny.root)
    here = layout.trials(study.study_id)
    orders = [notes[0] for name in study.trials if (notes := read_notes(TrialFolder(here / name))) is not None]
    assert len(orders) == 20
    cluster.node(SWARM_GPU_DIR=str(tmp_path / "second"))
    ledgers = Ledger(tmp_path / "ledger"), Ledger(tmp_path / "second")
    away = Layout(root=tmp_path / "driver")
    settings = load_settings(layout.settings(study.study_id)).model_copy(update={"root": away.root})
    host = ExchangeHost(away, terms_of(settings), SystemClock(), listen="0.0.0.0", announced=own_address(""))
    command = launcher_command("ray", cluster.address, nodes_address(away, study.study_id), study.study_id)
    environment = {**os.environ, **cluster.ours}
    launcher = subprocess.Popen(command, cwd=code_root(), env=environment, stdin=subprocess.PIPE)
    outcomes: dict[str, Outcome] = {}
    try:
        executor = RemoteExecutor(away, study.study_id, SystemClock(), look_every_s=0.0)
        running = {order.trial_id: executor.submit(order) for order in orders}
        until = time.monotonic() + 800
        while len(outcomes) < len(orders):
            assert time.monotonic() < until, host.nodes()
            for name, trial in running.items():
                if name not in outcomes and isinstance(now := trial.poll(), Outcome):
                    outcomes[name] = now
            for ledger in ledgers:
                ledger.look()
            time.sleep(0.2)
        for name, outcome in outcomes.items():
            recorded = study.trials[name].finished
            assert recorded is not None and outcome.score == recorded.score, name
            assert executor.losses(name) == np.load(TrialFolder(here / name).losses).tolist(), name
    finally:
        host.end()
        launcher.communicate(b"end\n", timeout=120)
        host.close()
    nodes = Counter(outcome.started.node for outcome in outcomes.values() if outcome.started is not None)
    assert len(nodes) == 2 and min(nodes.values()) >= 3, nodes
    assert [ledger.over for ledger in ledgers] == [[], []] and all(ledger.most > 0 for ledger in ledgers)
    print(dict(nodes), {ledger.root.name: ledger.most for ledger in ledgers})
