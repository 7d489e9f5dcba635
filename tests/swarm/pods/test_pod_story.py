"""The whole story on the fake provider, as a person types it: up, the study, the way home, the end, the bill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import psutil
import pytest
from fakes.pod_cloud import CARD, SCHEMA
from fakes.tiny_study import TinyStudy, make_tiny_study

from swarm.brain import Brain, verify
from swarm.pods.ledger import Ledger, Rental
from swarm.records import TrialState

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CANARIES = {"RUNPOD_API_KEY": "rpa_canary_5b2d7e01", "OPENAI_API_KEY": "sk-canary-9f1c44aa"}
STUDY = ("--target", "tiny", "--data", "standin", "--device", "cpu", "--trials", "4")


@dataclass
class Desk:
    """A person's repository, their ledger, and the fake."""

    tiny: TinyStudy
    root: Path

    @property
    def fake(self) -> Path:
        return self.root / "fake"

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "swarm", "pod", *words]

    def environment(self) -> dict[str, str]:
        own = {"SWARM_PODS_DIR": str(self.root), "SWARM_RUNPOD_BASE_URL": "http://127.0.0.1:9/v2", **CANARIES}
        return {**self.tiny.environment(), "PYTHONPATH": str(Path(__file__).parents[3]), **own}

    def pod(self, *words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            cwd=self.tiny.root, env=self.environment(), capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def up(self, *more: str) -> tuple[str, ...]:
        return ("up", "--fake", "--gpu", CARD, "--hours", "0.3", "--max-usd", "1", "--yes", *more, "--", *STUDY)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.command(*words),
            cwd=self.tiny.root, env=self.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def faults(self, *faults: dict[str, object]) -> None:
        self.fake.mkdir(parents=True, exist_ok=True)
        (self.fake / "faults.json").write_text(json.dumps(faults))

    def rental(self) -> Rental:
        (rental,) = Ledger(self.root).rentals().values()
        return rental

    def bills(self) -> list[dict[str, object]]:
        return list(json.loads((self.fake / "cloud.json").read_text()).values())

    def requests(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.fake / "requests.jsonl").read_text().splitlines()]

    def processes(self) -> list[psutil.Process]:
        return [one for one in psutil.process_iter() if one.pid != os.getpid() and self._is_ours(one)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            seen = [*process.cmdline(), process.cwd()]
            return process.status() != psutil.STATUS_ZOMBIE and any(text.startswith(str(self.root)) for text in seen)
        except (psutil.Error, OSError):
            return False

    def wait_for(self, text: str, limit_s: float = 200) -> None:
        """In the pod's own log of its study."""
        begun = time.monotonic()
        while not any(text in log.read_text() for log in self.fake.glob("pods/*/workspace/swarm/log/study.log")):
            assert time.monotonic() - begun < limit_s, self.tell()
            time.sleep(0.1)

    def tell(self) -> str:
        logs = [
            *self.fake.glob("pods/*.log"),
            *self.fake.glob("pods/*/workspace/swarm/log/*.log"),
            self.fake / "server.log",
        ]
        return "\n".join(f"== {path}\n{path.read_text()[-1500:]}" for path in logs if path.exists())

    def all_is_well(self) -> None:
        """One pod, ended, its results home, its cost booked, nothing running, no key anywhere."""
        rental, bills = self.rental(), self.bills()
        assert [bill["status"] for bill in bills] == ["TERMINATED"], self.tell()
        assert sum(one["method"] == "POST" and one["path"] == "/v2/pods" for one in self.requests()) >= 1
        assert rental.ended is not None and rental.ended.cost_usd is not None and rental.collected_at is not None
        assert float(str(bills[0]["cost_usd"])) <= rental.ended.cost_usd + 1e-6
        assert rental.ended.cost_usd < 0.34 * 0.2
        assert self.processes() == [] and not list(self.fake.glob("pods/*/"))
        study = self.tiny.study()
        assert [trial.state for trial in study.trials.values()] == [TrialState.COMPLETE] * 4
        assert verify(self.tiny.brain).ok and verify(self.root / rental.name / "swarm_brain.jsonl").ok
        assert self.tiny.repo.git("for-each-ref", "refs/swarm").count("\n") >= 0
        assert self.tiny.repo.git("for-each-ref", "refs/swarm") != ""
        assert list((self.root / rental.name).rglob("report.html"))
        for request in self.requests():
            if request["method"] == "POST" and request["path"] == "/v2/pods":
                jsonschema.validate(request["body"], {**SCHEMA, "$ref": "#/$defs/create"})
        self.no_key_is_written()

    def no_key_is_written(self) -> None:
        for path in [*self.root.rglob("*"), *self.tiny.root.rglob("*")]:
            if path.is_file():
                data = path.read_bytes()
                assert not any(canary.encode() in data for canary in CANARIES.values()), path


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(make_tiny_study(tmp_path / "user"), tmp_path / "pods")
    yield made
    for process in made.processes():
        with suppress(psutil.Error):
            process.kill()


def test_up_runs_a_study_brings_it_home_and_ends(desk: Desk) -> None:
    done = desk.pod(*desk.up())
    assert done.returncode == 0, done.stdout + done.stderr + desk.tell()
    for text in ("USD/h, stock", "is rented" if "is rented" in done.stdout else "is there", "t0004", "All is home."):
        assert text in done.stdout
    assert "it ended itself" in done.stdout
    desk.all_is_well()
    listed = desk.pod("list", "--json")
    assert json.loads(listed.stdout)["pods"] == [] and desk.pod("status").returncode == 0


def test_a_lost_reply_and_a_pod_that_dies_cost_no_second_pod_and_no_result(desk: Desk) -> None:
    desk.faults(
        {"on": "create", "what": "lost_reply"},
        {"on": "pod", "what": "dies", "seconds": 20},
        {"on": "list", "what": "status", "times": 2},
    )
    done = desk.pod(*desk.up())
    assert done.returncode == 0, done.stdout + done.stderr + desk.tell()
    assert "Looking before asking again" in done.stdout and "starting it again" in done.stdout
    desk.all_is_well()


def test_a_client_that_is_killed_and_started_again_goes_on_with_the_same_pod(desk: Desk) -> None:
    first = desk.start(*desk.up())
    desk.wait_for("begins")
    first.send_signal(signal.SIGKILL)
    first.wait()
    status = json.loads(desk.pod("status", "--json").stdout)
    assert status["state"] == "running", desk.tell()
    assert status["phase"] in ("running", "ending", "done"), "a short study, and the machine may be busy"
    done = desk.pod(*desk.up())
    assert done.returncode == 0, done.stdout + done.stderr + desk.tell()
    assert "Going on with" in done.stdout
    desk.all_is_well()


def test_a_pod_that_is_taken_down_brings_home_what_there_is(desk: Desk) -> None:
    first = desk.start(*desk.up("--idle-min", "5"))
    desk.wait_for("begins")
    first.send_signal(signal.SIGINT)
    assert first.wait(30) == 130
    synced = desk.pod("sync", "--json")
    assert json.loads(synced.stdout)["state"] == "running" and json.loads(synced.stdout)["records"] >= 0
    assert "worker_1" in desk.pod("logs").stdout
    done = desk.pod("down", "--now", "--json")
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout)["state"] == "ended"
    assert [bill["status"] for bill in desk.bills()] == ["TERMINATED"] and desk.processes() == []
    assert Brain(desk.tiny.brain).snapshot().latest is not None
    desk.no_key_is_written()


def test_with_the_renters_machine_off_the_pod_stops_in_time_and_its_results_wait(desk: Desk) -> None:
    """Nobody follows it: its own watchdog gives the card back at the deadline and keeps the disk."""
    up = ("up", "--fake", "--gpu", CARD, "--hours", "0.05", "--max-usd", "1", "--yes", "--", *STUDY[:-1], "999")
    first = desk.start(*up)
    desk.wait_for("begins")
    first.send_signal(signal.SIGKILL)
    first.wait()
    deadline_at = desk.rental().deadline_at
    assert deadline_at is not None
    while desk.bills()[0]["paid"]:
        assert time.time() < deadline_at + 120, desk.tell()
        time.sleep(0.5)
    listed = desk.pod("list")
    assert listed.returncode == 1 and "stopped" in listed.stdout and "swarm pod down" in listed.stdout
    synced = desk.pod("sync")
    assert synced.returncode == 0, synced.stdout + synced.stderr + desk.tell()
    rental, bill = desk.rental(), desk.bills()[0]
    assert rental.ended is not None and rental.collected_at is not None and bill["status"] == "TERMINATED"
    assert float(str(bill["cost_usd"])) <= float(str(rental.ended.cost_usd)) + 1e-6
    assert any(trial.finished is not None for trial in desk.tiny.study().trials.values())
    assert list((desk.root / rental.name).rglob("report.html")) and desk.processes() == []
