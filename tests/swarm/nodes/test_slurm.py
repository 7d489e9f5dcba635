"""Slurm's way through submitit's local executor: real processes, and the signal that Slurm sends before a job's end.

No Slurm was there: that sbatch prefers SBATCH_* variables, and when it sends the signal, is what its manual says.
"""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from factories.orders import STUDY, order, terms
from fakes.tiny_study import TRAIN

from swarm.clock import SystemClock
from swarm.execution.executor import Outcome, Progress
from swarm.nodes.host import ExchangeHost, nodes_address
from swarm.nodes.remote import RemoteExecutor
from swarm.orchestrator.data import data_sha256
from swarm.study.settings import Layout

pytest.importorskip("submitit", reason="the extra [slurm] is not installed: nothing is verified over submitit")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HANGS = TRAIN.replace("def main() -> None:\n", "def main() -> None:\n    import time\n    time.sleep(600)\n")


def wait_for(condition: object, limit_s: float = 120.0) -> None:
    until = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, "not reached"
        time.sleep(0.1)


def test_a_job_that_is_about_to_end_gives_back_its_trial_and_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swarm.harness.prepare import prepare
    from swarm.nodes.slurm_launcher import SlurmAgent, executor_in

    data = prepare("standin").layout.root
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "data").symlink_to(data.parent)
    for name, value in {"SWARM_CACHE": "cache", "SWARM_GPU_DIR": "ledger"}.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    layout = Layout(root=tmp_path / "driver")
    host = ExchangeHost(layout, terms(data_sha256=data_sha256(data)), SystemClock())
    try:
        executor = executor_in(tmp_path / "jobs", "local")
        job = executor.submit(SlurmAgent(nodes_address(layout, STUDY)))
        driver = RemoteExecutor(layout, STUDY, SystemClock(), look_every_s=0.05)
        running = driver.submit(order(files={"train.py": HANGS.encode()}, alone=True))  # unprobed

        def runs() -> bool:
            now = running.poll()
            return isinstance(now, Progress) and now.state == "running"

        wait_for(runs)
        for task in psutil.Process(job._process.pid).children(recursive=True):
            if "submitit.core._submit" in task.cmdline():
                task.send_signal(signal.SIGUSR2)

        def given_back() -> bool:
            entry = host.exchange.entry("t0001")
            return entry is not None and (entry.state == "waiting" or entry.issue > 1)

        wait_for(given_back)
        entry = host.exchange.entry("t0001")
        assert entry is not None and entry.lost == 0, "given back, not lost"
        wait_for(runs)
        running.stop("stopped by the user")
        wait_for(lambda: isinstance(running.poll(), Outcome))
    finally:
        host.end()
        wait_for(job.done)
        host.close()
    assert trials_in(tmp_path) == []


def trials_in(folder: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            place = process.environ().get("SWARM_TRIAL_DIR", "")
        except psutil.Error:
            continue
        if place.startswith(str(folder)) and process.pid != os.getpid():
            found.append(process.pid)
    return found
