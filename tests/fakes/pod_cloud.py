"""The fake provider with pods that are only written down, and orders for it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import jsonschema
from fakes.fake_clock import FakeClock

from swarm.pods.fake.cloud import FakeCloud
from swarm.pods.fake.faults import Fault, Faults
from swarm.pods.fake.server import FakeServer
from swarm.pods.ledger import Intent, Ledger
from swarm.pods.provider import Offer, PodOrder
from swarm.pods.renting import Renting
from swarm.pods.runpod import RunpodPods

CARD = "NVIDIA GeForce RTX 4090"
OTHER = "NVIDIA GeForce RTX 3090"
KEY = "rpa_0123456789abcdef0123456789abcdef"
SCHEMA = json.loads((Path(__file__).parent / "runpod_v2.schema.json").read_text())


class PaperMachine:
    """Remembers what it was told to run."""

    def __init__(self) -> None:
        self.running: dict[str, Mapping[str, str]] = {}

    def start(self, pod_id: str, args: str, env: Mapping[str, str]) -> None:
        self.running[pod_id] = env

    def runs(self, pod_id: str) -> bool:
        return pod_id in self.running

    def end(self, pod_id: str) -> None:
        self.running.pop(pod_id, None)

    def wipe(self, pod_id: str) -> None:
        pass

    def log(self, pod_id: str) -> str:
        return "one\ntwo\n"


@contextmanager
def paper_cloud(*faults: Fault, clock: FakeClock | None = None) -> Iterator[tuple[FakeServer, FakeClock]]:
    """A server whose time is the clock's. When it closes, every body that arrived was one of the API's."""
    clock = clock or FakeClock()
    cloud = FakeCloud(clock, PaperMachine(), Faults(list(faults)), start_s=0.0)
    with FakeServer(cloud, KEY) as server:
        yield server, clock
        check_bodies(server)


def check_bodies(server: FakeServer) -> None:
    for request in server.requests:
        kind = {"pods": "create", "action": "action"}.get(str(request["path"]).rpartition("/")[2])
        if request["method"] == "POST" and kind is not None:
            jsonschema.validate(request["body"], {**SCHEMA, "$ref": f"#/$defs/{kind}"})
    assert KEY not in json.dumps(server.requests)


def client(server: FakeServer, clock: FakeClock, read_s: float = 2.0) -> RunpodPods:
    return RunpodPods(KEY, clock, server.url, read_s=read_s)


def creates(server: FakeServer) -> int:
    return sum(one["method"] == "POST" and one["path"] == "/v2/pods" for one in server.requests)


def living(server: FakeServer) -> list[str]:
    return [pod.id for pod in server.cloud.pods.values() if pod.status not in ("TERMINATED", "EXITED")]


def order(name: str = "swarm-study-1", card: str = CARD, **changed: object) -> PodOrder:
    facts: dict[str, object] = {"image": "image:1", "command": "python3 -c 'print(1)'", "hours": 1, "max_usd": 1}
    return PodOrder.model_validate({"name": name, "card": card, **facts, **changed})


def offer(card: str = CARD, price: float = 0.69) -> Offer:
    return Offer(card=card, cloud="secure", price_usd_h=price, stock="high")


def intent(**changed: object) -> Intent:
    facts: dict[str, object] = {"provider": "runpod", "root": "/repo", "hours": 1.0, "max_usd": 1.0, "commit": "c" * 40}
    return Intent.model_validate({**facts, "cards": (CARD,), **changed})


def renting(server: FakeServer, clock: FakeClock, root: Path, said: list[str] | None = None) -> Renting:
    return Renting(client(server, clock), Ledger(root), clock, (said if said is not None else []).append)
