"""What every executor must do, asked of the scripted one and of the one that runs real processes on this machine."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psutil
import pytest
from factories.orders import STUDY, facts, terms
from fakes.scripted_executor import ScriptedExecutor, World
from fakes.tiny_study import TRAIN
from pydantic import ValidationError

from swarm.admission import AdmissionController
from swarm.clock import SystemClock
from swarm.errors import TrialError
from swarm.execution.executor import Executor, MemoryEvidence, Outcome, Progress, RunningTrial, TrialOrder
from swarm.execution.local import LocalExecutor
from swarm.gpu import CpuProbe
from swarm.gpu.device_class import processor
from swarm.nodes.agent import Agent
from swarm.nodes.host import ExchangeHost, exchange_folder
from swarm.nodes.node import NAME_VARIABLE
from swarm.nodes.remote import RemoteExecutor
from swarm.nodes.serving import launcher_command
from swarm.nodes.values import BEAT_S
from swarm.orchestrator.data import data_sha256
from swarm.records import Budget, FailReason, Grading, Output, TargetTerms
from swarm.study.settings import Layout
from swarm.supervisor import Zygote, kill_leftovers
from swarm.trial.contract import code_root, harness_sha256
from swarm.trial.folder import TrialFolder

LIMIT_S = 60.0
RUNGS = (0.25, 0.5)

WHEN_TRAINED = """
def main() -> None:
    import time
    from pathlib import Path
    from swarm.harness import session
    if type(session.current()).__name__ != "ProbeSession":
        {what}
    train_as_usual()
"""


class Bench(Protocol):
    """An executor, and what a test needs to know of its world. `fails_as`: how it calls a training that diverges."""

    executor: Executor
    fails_as: FailReason
    has_rungs: bool

    def fields(self, script: str) -> dict[str, object]:
        """Of its orders, what is not as usual."""

    def source(self, script: str) -> bytes:
        """The program that does what the script says."""

    def another(self) -> Executor:
        """As another process has it, over the same trials."""

    def lose(self, trial_id: str) -> None:
        """Kill whoever runs the trial."""

    def wait(self) -> None:
        """Let some time pass."""

    def left_over(self) -> list[object]:
        """Processes and reservations that nobody owns any more."""


class ScriptedBench:
    fails_as = FailReason.DIVERGED
    has_rungs = True

    def fields(self, script: str) -> dict[str, object]:
        return {}

    def __init__(self) -> None:
        self._world = World()
        self.executor = ScriptedExecutor(self._world)

    def source(self, script: str) -> bytes:
        return script.encode()

    def another(self) -> Executor:
        return ScriptedExecutor(self._world)

    def lose(self, trial_id: str) -> None:
        self._world.trials[trial_id].lost = True

    def wait(self) -> None:
        pass

    def left_over(self) -> list[object]:
        return []


class LocalBench:
    fails_as = FailReason.DIVERGED
    has_rungs = True

    def fields(self, script: str) -> dict[str, object]:
        return {}

    def __init__(self, folder: Path, data: Path, zygote: Path) -> None:
        self._folder, self._data, self._zygote = folder, data, zygote
        self._trials, self._ledger = folder / "trials", folder / "ledger"
        self.executor = self.another()

    def source(self, script: str) -> bytes:
        marker = f"Path({str(self._folder / 'tried')!r})"
        what = {
            "scores": "pass",
            "crashes": "raise ValueError('no')",
            "diverges": "globals().update(MAX_LR=float('inf'))",
            "hangs": "time.sleep(600)",
            "lacks_memory_once": f"if not {marker}.exists(): {marker}.touch(); raise MemoryError('too much')",
            "lacks_memory": "raise MemoryError('too much')",
        }[script]
        return (TRAIN.replace("def main()", "def train_as_usual()") + WHEN_TRAINED.format(what=what)).encode()

    def another(self) -> Executor:
        admission = AdmissionController(self._ledger, CpuProbe(), SystemClock())
        return LocalExecutor(self._trials, self._data, admission, SystemClock(), zygote=self._zygote)

    def lose(self, trial_id: str) -> None:
        supervisor = self.supervisor(trial_id)
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(supervisor)
            process.kill()
            while process.status() != psutil.STATUS_ZOMBIE:  # only now does its loss show
                time.sleep(0.01)

    def supervisor(self, trial_id: str) -> int:
        folder = TrialFolder(self._trials / trial_id)
        return int(folder.supervisor.read_text().partition('"pid": ')[2].partition(",")[0])

    def wait(self) -> None:
        time.sleep(0.02)

    def close(self) -> None:
        pass

    def left_over(self) -> list[object]:
        folders = self._trials.iterdir() if self._trials.exists() else ()
        processes = [kill_leftovers(folder) for folder in folders]
        leases = list(self._ledger.rglob("leases/*.json"))
        return [*(found for found in processes if found), *leases]


GRADE = """
import json
guess, true = (json.load(open(name)) for name in ("outputs/guess.json", "private/true.json"))
errors = [abs(a - b) for a, b in zip(guess, true)]
json.dump(errors, open("errors.json", "w"))
metrics = {"error": sum(errors) / len(errors)}
print(json.dumps({"metrics": metrics, "valid": True, "why": "", "per_item": "errors.json"}))
"""
GRADING = Grading(
    run=("python", "fit.py"),
    grade=("python", "grade.py"),
    metric="error",
    outputs=(Output(name="guess.json", type="json"),),
)
GUESSES = """import json
import time
from pathlib import Path
{what}
json.dump([1.0, 2.0, 4.0], open("outputs/guess.json", "w"))
"""


class GradedBench(LocalBench):
    """A command of the target's own, and its grader."""

    fails_as = FailReason.CRASHED
    has_rungs = False

    def source(self, script: str) -> bytes:
        marker = f"Path({str(self._folder / 'tried')!r})"
        what = {
            "scores": "time.sleep(0.3)",
            "crashes": "raise ValueError('no')",
            "diverges": "raise FloatingPointError('nan')",
            "hangs": "time.sleep(600)",
            "lacks_memory_once": f"if not {marker}.exists(): {marker}.touch(); raise MemoryError('too much')",
            "lacks_memory": "raise MemoryError('too much')",
        }[script]
        return GUESSES.format(what=what).encode()

    def fields(self, script: str) -> dict[str, object]:
        files = {"fit.py": self.source(script), "grade.py": GRADE.encode(), "private/true.json": b"[1, 2, 3]"}
        terms = TargetTerms(grade="graded", editable=("fit.py",), closed=("inputs", "private"))
        return {
            "files": {**files, "raw.bin": b"\x00\xff\n"},
            "editable": "fit.py",
            "budget": Budget(kind="seconds", amount=60, walltime_limit_s=60),
            "terms": terms,
            "grading": GRADING,
        }


class DriverBench(LocalBench):
    """Through an exchange on loopback to an agent with the local executor behind it."""

    def __init__(self, folder: Path, data: Path, zygote: Path, host: ExchangeHost, layout: Layout) -> None:
        self._host, self._layout = host, layout
        super().__init__(folder, data, zygote)

    def another(self) -> Executor:
        return RemoteExecutor(self._layout, STUDY, SystemClock(), look_every_s=0.01)

    def lose(self, trial_id: str) -> None:
        """And wait until the node has noticed: the driver sees it a beat later."""
        lost = self.supervisor(trial_id)
        super().lose(trial_id)
        while (entry := self._host.exchange.entry(trial_id)) is not None and entry.state != "over":
            with suppress(OSError, ValueError):
                if self.supervisor(trial_id) != lost:
                    return
            time.sleep(0.01)


class NodesBench(DriverBench):
    """The agent is a thread here."""

    def __init__(self, folder: Path, data: Path, zygote: Path) -> None:
        layout = Layout(root=folder / "driver")
        host = ExchangeHost(layout, terms(), SystemClock())
        self._ended = threading.Event()
        super().__init__(folder, data, zygote, host, layout)
        local, here = LocalBench.another(self), facts("a", device_class=processor())
        self._agent = Agent(host.address.caller(), local, lambda: here, folder / "held.json", SystemClock())
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._host.close()

    def _work(self) -> None:
        while not self._ended.is_set():
            self._agent.step()
            time.sleep(0.01)


class RayBench(DriverBench):
    """The agent is an actor of a cluster that is started for these tests."""

    def __init__(self, folder: Path, cluster: "RayOnThisMachine") -> None:
        self._cluster = cluster
        host = cluster.opened()
        super().__init__(folder, folder, folder, host, cluster.layout)
        self._trials, self._ledger = cluster.trials, cluster.ledger

    def close(self) -> None:
        until = time.monotonic() + LIMIT_S
        while any(node.runs for node in self._host.nodes()) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(1.5 * BEAT_S)  # the node hears that it need not hold anything any more


class RayOnThisMachine:
    """A cluster with one agent, and the exchange that it asks, which is made anew for each test."""

    def __init__(self, folder: Path) -> None:
        from swarm.harness.prepare import prepare

        data = prepare("standin").layout.root
        (folder / "cache").mkdir()
        (folder / "cache" / "data").symlink_to(data.parent)
        self.layout, self.ledger = Layout(root=folder), folder / "ledger"
        self.trials = folder / "cache" / "nodes" / "one" / "trials" / STUDY
        self._terms = terms(data_sha256=data_sha256(data))
        self._host: ExchangeHost | None = None
        self.opened()
        address = exchange_folder(self.layout, STUDY) / "address.json"
        command = launcher_command("ray", "", address, STUDY)
        surroundings = {"SWARM_CACHE": str(folder / "cache"), "SWARM_GPU_DIR": str(self.ledger), NAME_VARIABLE: "one"}
        self._launcher = subprocess.Popen(
            command,
            cwd=code_root(),
            env={**os.environ, **surroundings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._launcher.stdout is not None and self._launcher.stdout.readline().startswith(b"ready")

    def opened(self) -> ExchangeHost:
        """On the port and with the key of the one before, and with nothing else of it."""
        self._close()
        for written in exchange_folder(self.layout, STUDY).glob("t*.json"):
            written.unlink()
        shutil.rmtree(self.layout.trials(STUDY), ignore_errors=True)
        self._host = ExchangeHost(self.layout, self._terms, SystemClock())
        return self._host

    def stop(self) -> None:
        assert self._host is not None and self._launcher.stdin is not None and self._launcher.stdout is not None
        self._host.end()
        self._launcher.stdin.write(b"end\n")
        self._launcher.stdin.close()
        self._launcher.wait(60)
        self._launcher.stdout.close()
        self._close()

    def _close(self) -> None:
        if self._host is not None:
            self._host.close()


@pytest.fixture(scope="module")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayOnThisMachine]:
    pytest.importorskip("ray", reason="the extra [ray] is not installed: nothing is verified over Ray")
    cluster = RayOnThisMachine(tmp_path_factory.mktemp("ray"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    socket = tmp_path_factory.mktemp("zygote") / "zygote.sock"
    started = Zygote.start("swarm.harness.preload", socket, pythonpath=(str(code_root()),))
    yield started.socket_path
    started.stop()


@pytest.fixture(params=["scripted", "local", "graded", "nodes", pytest.param("ray", marks=pytest.mark.slow)])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param == "scripted":
        yield ScriptedBench()
        return
    if request.param == "ray":
        over_ray = RayBench(tmp_path, request.getfixturevalue("ray_cluster"))
        yield over_ray
        over_ray.close()
        assert over_ray.left_over() == []
        return
    from swarm.harness.prepare import prepare

    data = prepare("standin").layout.root
    kind = {"local": LocalBench, "graded": GradedBench, "nodes": NodesBench}[request.param]
    built = kind(tmp_path, data, request.getfixturevalue("zygote"))
    yield built
    built.close()
    assert built.left_over() == []


def order(bench: Bench, script: str = "scores", **more: object) -> TrialOrder:
    values: dict[str, object] = {
        "study_id": "study",
        "trial_id": "t0001",
        "agent_id": "worker_1",
        "target": "tiny",
        "files": {"train.py": bench.source(script), "raw.bin": b"\x00\xff\n"},
        "editable": "train.py",
        "seed": 1,
        "budget": Budget(kind="samples", amount=640, walltime_limit_s=60),
        "device": "cpu",
        "threads": 1,
        "sandbox": "none",  # a program here may write outside, to know its second attempt
        "harness_sha256": harness_sha256(),
        "memory": MemoryEvidence(profile_mib=1200),
    }
    return TrialOrder.model_validate({**values, **bench.fields(script), **more})


def follow(
    bench: Bench, running: RunningTrial, until: Callable[[Progress], bool] = lambda _: False
) -> tuple[list[Progress], Outcome | None]:
    """What it answers until its outcome, or until `until` says so."""
    seen: list[Progress] = []
    deadline = time.monotonic() + LIMIT_S
    while isinstance(now := running.poll(), Progress):
        seen.append(now)
        if until(now):
            return seen, None
        assert time.monotonic() < deadline, seen[-3:]
        bench.wait()
    return seen, now


def is_running(now: Progress) -> bool:
    return now.state == "running"


def ended(bench: Bench, running: RunningTrial) -> Outcome:
    outcome = follow(bench, running)[1]
    assert outcome is not None
    return outcome


@pytest.mark.parametrize(
    ("script", "reason"),
    [("scores", None), ("crashes", FailReason.CRASHED), ("diverges", FailReason.DIVERGED)],
)
def test_every_ending_has_a_score_or_a_reason(bench: Bench, script: str, reason: FailReason | None) -> None:
    running = bench.executor.submit(order(bench, script))
    reason = bench.fails_as if reason is FailReason.DIVERGED else reason
    seen, outcome = follow(bench, running)
    assert outcome is not None
    assert (outcome.reason, outcome.score is not None) == (reason, reason is None), outcome.detail
    assert (outcome.detail == "") == (reason is None)
    assert outcome.resources is not None and outcome.started is not None and outcome.attempts == 1
    assert [now.started for now in seen if now.state == "running"][-1] == outcome.started
    assert running.poll() == outcome, "the same answer after the end"


def test_what_fits_on_no_device_never_starts(bench: Bench) -> None:
    outcome = ended(bench, bench.executor.submit(order(bench, threads=100_000)))
    assert (outcome.reason, outcome.started, outcome.resources) == (FailReason.INFEASIBLE, None, None)


def test_another_harness_is_refused(bench: Bench) -> None:
    outcome = ended(bench, bench.executor.submit(order(bench, harness_sha256="other")))
    assert (outcome.reason, outcome.started) == (FailReason.HARNESS_MODIFIED, None)


def test_an_order_goes_through_json_and_back(bench: Bench) -> None:
    given = order(bench, rungs=RUNGS)
    read = TrialOrder.model_validate_json(given.model_dump_json())
    assert read == given and read.files["raw.bin"] == b"\x00\xff\n"
    assert ended(bench, bench.executor.submit(read)).score is not None


def test_rungs_come_in_order_and_each_once(bench: Bench) -> None:
    seen, outcome = follow(bench, bench.executor.submit(order(bench, rungs=RUNGS)))
    assert outcome is not None and outcome.score is not None, outcome
    assert [share for share, _ in outcome.rungs] == (list(RUNGS) if bench.has_rungs else [])
    for now in seen:
        assert now.rungs == outcome.rungs[: len(now.rungs)]


def test_a_lack_of_memory_is_answered_with_more_of_it(bench: Bench) -> None:
    seen, outcome = follow(bench, bench.executor.submit(order(bench, "lacks_memory_once")))
    assert outcome is not None and outcome.score is not None, outcome
    attempts = {now.started.attempt: now.started for now in seen if now.started is not None}
    assert list(attempts) == [1, 2] and outcome.attempts == 2
    assert attempts[2].reservation_mib > attempts[1].reservation_mib
    assert attempts[2].lease_id != attempts[1].lease_id


def test_what_does_not_even_fit_alone_is_infeasible(bench: Bench) -> None:
    outcome = ended(bench, bench.executor.submit(order(bench, "lacks_memory")))
    assert (outcome.reason, outcome.score) == (FailReason.INFEASIBLE, None), outcome
    assert outcome.attempts > 1 and outcome.resources is not None and outcome.detail != ""


@pytest.mark.parametrize(
    ("said", "reason"), [("stopped by the user", FailReason.ABANDONED), ("pruned at 25 %", FailReason.PRUNED)]
)
def test_a_stop_ends_a_running_trial_with_its_reason(bench: Bench, said: str, reason: FailReason) -> None:
    running = bench.executor.submit(order(bench, "hangs"))
    follow(bench, running, is_running)
    running.stop(said)
    running.stop("another reason, too late")
    outcome = ended(bench, running)
    assert (outcome.reason, outcome.detail, outcome.score) == (reason, said, None)
    running.stop("after the end")
    assert running.poll() == outcome


def test_a_stop_before_the_start_is_an_end_as_well(bench: Bench) -> None:
    running = bench.executor.submit(order(bench, "hangs"))
    running.stop("stopped by the user")
    outcome = ended(bench, running)
    assert outcome.reason is FailReason.ABANDONED and "stopped by the user" in outcome.detail


def test_a_trial_that_was_left_is_adopted_by_another(bench: Bench) -> None:
    running = bench.executor.submit(order(bench, rungs=RUNGS))
    seen, _ = follow(bench, running, is_running)
    running.detach()
    adopted = bench.another().adopt("t0001")
    assert adopted is not None
    outcome = ended(bench, adopted)
    assert outcome.score is not None, outcome.detail
    assert outcome.started == seen[-1].started
    assert [share for share, _ in outcome.rungs] == (list(RUNGS) if bench.has_rungs else [])
    again = bench.another().adopt("t0001")
    assert again is not None and ended(bench, again).score == outcome.score, "also when it is over"


def test_an_adopted_trial_can_be_stopped(bench: Bench) -> None:
    running = bench.executor.submit(order(bench, "hangs"))
    follow(bench, running, is_running)
    running.detach()
    adopted = bench.another().adopt("t0001")
    assert adopted is not None
    adopted.stop("stopped by the user")
    assert ended(bench, adopted).reason is FailReason.ABANDONED


def test_an_adopted_trial_that_lacks_memory_gets_more(bench: Bench) -> None:
    running = bench.executor.submit(order(bench, "lacks_memory_once"))
    follow(bench, running, is_running)
    running.detach()
    adopted = bench.another().adopt("t0001")
    assert adopted is not None
    outcome = ended(bench, adopted)
    assert (outcome.score is not None, outcome.attempts) == (True, 2), outcome


def test_what_never_started_cannot_be_adopted(bench: Bench) -> None:
    running = bench.executor.submit(order(bench))
    running.detach()
    assert bench.another().adopt("t0001") is None
    assert bench.another().adopt("t0002") is None


def test_a_lost_trial_runs_again_once(bench: Bench) -> None:
    running = bench.executor.submit(order(bench))
    follow(bench, running, is_running)
    bench.lose("t0001")
    outcome = ended(bench, running)
    assert (outcome.score is not None, outcome.attempts) == (True, 1), outcome


def test_a_trial_that_is_lost_twice_is_given_up(bench: Bench) -> None:
    running = bench.executor.submit(order(bench, "hangs"))
    for _ in range(2):
        seen, _ = follow(bench, running, is_running)
        assert seen, "it runs"
        bench.lose("t0001")
        bench.wait()
    outcome = ended(bench, running)
    assert (outcome.reason, outcome.score) == (FailReason.ABANDONED, None) and "died" in outcome.detail


def test_losses_and_weights_outlive_the_trial(bench: Bench) -> None:
    assert bench.executor.losses("t0001") is None
    outcome = ended(bench, bench.executor.submit(order(bench)))
    losses = bench.another().losses("t0001")
    assert outcome.score is not None and losses is not None and len(losses) == outcome.score.rows
    for _ in range(2):
        bench.executor.drop_weights("t0001")
    assert bench.executor.losses("t0001") == losses


@pytest.mark.parametrize("path", ["", ".", "..", "../train.py", "/etc/passwd", "a/../../b", ".git/hooks/pre-commit"])
def test_an_order_writes_inside_its_folder_only(path: str) -> None:
    with pytest.raises(ValidationError, match="no path inside"):
        order(ScriptedBench(), files={path: b""})


@pytest.mark.parametrize("trial_id", ["", "../t0001", "a/b", "t" * 65])
def test_the_name_of_a_trial_is_no_path(trial_id: str) -> None:
    with pytest.raises(ValidationError, match="trial_id"):
        order(ScriptedBench(), trial_id=trial_id)


def test_a_failed_set_up_is_no_failed_trial(tmp_path: Path, zygote: Path) -> None:
    """Of the local executor alone: without data there is nothing to train on, which is nobody's program's fault."""
    bench = LocalBench(tmp_path, tmp_path / "no data", zygote)
    running = bench.executor.submit(order(bench))
    with pytest.raises(TrialError, match="could not be set up"):
        follow(bench, running)
    assert bench.left_over() == []
