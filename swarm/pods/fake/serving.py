"""The fake as a process of its own, found by a file, so that a pod outlives the command that rented it.

    FOLDER/server.json     address, process and key of the fake that runs now
    FOLDER/cloud.json      its pods, with what each has cost
    FOLDER/requests.jsonl  what was asked of it
    FOLDER/faults.json     read once and taken away: what is to go wrong next
    FOLDER/pods/           the pods' disks and logs

It ends by itself when no pod lives and nobody has asked for anything for a while.
"""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import psutil  # type: ignore[import-untyped]
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from swarm.clock import Clock, SystemClock
from swarm.pods.fake.cloud import PAID, FakeCloud, Json
from swarm.pods.fake.faults import Faults
from swarm.pods.fake.machine import LocalMachine
from swarm.pods.fake.server import FakeServer
from swarm.pods.provider import Pod, PodOrder, PodState, Unreachable
from swarm.pods.runpod.client import RunpodPods

LINGER_S = 20.0
START_S = REST_S = 20.0


class Running(BaseModel):
    model_config = ConfigDict(frozen=True)

    url: str
    pid: int
    key: str


def serve(folder: Path, linger_s: float = LINGER_S) -> None:
    """Serves until there is nothing left to serve. A second one in this folder waits for the first and then leaves."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    machine = LocalMachine(folder / "pods")
    cloud = FakeCloud(SystemClock(), machine, Faults(file=folder / "faults.json"))
    earlier = _bills(folder / "cloud.json")
    cloud.changed = lambda: _save(cloud, folder / "cloud.json", earlier)
    key = secrets.token_hex(16)
    with FakeServer(cloud, key, folder / "requests.jsonl") as server:
        _write(folder / "server.json", Running(url=server.url, pid=os.getpid(), key=key).model_dump_json())
        try:
            while not server.resting and (cloud.listed() or time.monotonic() - server.quiet_since < linger_s):
                time.sleep(0.1)
        finally:
            (folder / "server.json").unlink(missing_ok=True)
            _save(cloud, folder / "cloud.json", earlier)


class FakePods(RunpodPods):
    """The same client, told that its pods lie on this machine."""

    name = "fake"

    def __init__(self, folder: Path, running: Running, clock: Clock) -> None:
        super().__init__(running.key, clock, running.url)
        self._pods = folder / "pods"
        self._pid = running.pid

    @classmethod
    def found(cls, folder: Path, clock: Clock) -> "FakePods | None":
        """The fake that runs in this folder; None when none does."""
        running = _running(folder)
        return None if running is None else cls(folder, running, clock)

    @classmethod
    def started(cls, folder: Path, clock: Clock) -> "FakePods":
        """The fake that runs there, or a new one."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(folder / "start.lock", fallback_to_soft=False):
            if (there := cls.found(folder, clock)) is not None:
                return there
            with (folder / "server.log").open("ab") as log:
                subprocess.Popen(
                    [sys.executable, "-m", "swarm.pods.fake", str(folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            begun = time.monotonic()
            while (there := cls.found(folder, clock)) is None:
                if time.monotonic() - begun > START_S:
                    raise Unreachable(f"the fake provider did not start in {START_S:g} s: see {folder / 'server.log'}")
                time.sleep(0.05)
            return there

    def create(self, order: PodOrder) -> Pod:
        return self._with_folder(super().create(order))

    def get(self, pod_id: str) -> Pod | None:
        found = super().get(pod_id)
        return None if found is None else self._with_folder(found)

    def list(self) -> list[Pod]:
        return [self._with_folder(pod) for pod in super().list()]

    def rest(self) -> None:
        """Ends the fake if no pod is left, and waits until its process and the disks of its pods are gone."""
        with contextlib.suppress(httpx2.HTTPError, psutil.NoSuchProcess, psutil.TimeoutExpired):
            process = psutil.Process(self._pid)
            if json.loads(self._send("POST", "rest", None).content)["resting"]:
                process.wait(REST_S)

    def _with_folder(self, pod: Pod) -> Pod:
        """Only what runs can be reached, as elsewhere."""
        home = self._pods / pod.id / "workspace" / "swarm"
        return pod.model_copy(update={"folder": str(home)}) if pod.state is PodState.RUNNING else pod


def _running(folder: Path) -> Running | None:
    try:
        running = Running.model_validate_json((folder / "server.json").read_bytes())
    except (OSError, ValidationError):
        return None
    if not psutil.pid_exists(running.pid):
        return None
    try:
        answer = httpx2.get(f"{running.url}/pods", headers={"Authorization": f"Bearer {running.key}"}, timeout=5.0)
    except httpx2.HTTPError:
        return None
    return running if answer.status_code != 401 else None


def _bills(path: Path) -> dict[str, Json]:
    """Of the fakes that ran here before: their pods ended with them."""
    try:
        bills: dict[str, Json] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return {pod_id: {**bill, "paid": False} for pod_id, bill in bills.items()}


def _save(cloud: FakeCloud, path: Path, earlier: dict[str, Json]) -> None:
    now: dict[str, Json] = {
        pod.id: {
            "name": pod.body.get("name"),
            "status": pod.status,
            "price": pod.price,
            "created_at": pod.created_at,
            "paid_until": pod.paid_until,
            "cost_usd": pod.cost_usd,
            "paid": pod.status in PAID,
        }
        for pod in cloud.pods.values()
    }
    _write(path, json.dumps({**earlier, **now}, indent=1))


def _write(path: Path, text: str) -> None:
    half = path.with_name(f"{path.name}.{os.getpid()}.half")
    half.touch(mode=0o600)
    half.write_text(text, encoding="utf-8")
    half.replace(path)
