"""A rented pod on the stage: the provider a fake with the test's clock, the pod a folder that the test writes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fakes.fake_clock import FakeClock
from fakes.pod_cloud import intent, offer, order, paper_cloud, renting

from swarm.pods.fake.faults import Fault
from swarm.pods.fake.server import FakeServer
from swarm.pods.following import Follower
from swarm.pods.means import Means
from swarm.pods.provider import Pod, PodState
from swarm.pods.reach import FolderReach, Reach
from swarm.pods.renting import Renting, begin, rent

NAME = "swarm-study-1"


@dataclass(frozen=True)
class Brought:
    records: int = 1
    refs: int = 1
    brain_bytes: int = 100
    report: bool = True
    refused: str = ""


class Stage:
    """A rented pod, its folder, and what the renter says."""

    def __init__(self, server: FakeServer, clock: FakeClock, root: Path) -> None:
        self.server, self.clock, self.said = server, clock, list[str]()
        self.home, self.brought = root / "home", 0
        self.home.mkdir()
        self.bundle = root / "bundle"
        self.bundle.write_bytes(b"files")
        self.desk: Renting = renting(server, clock, root / "ledger", self.said)
        rent(self.desk, begin(self.desk, NAME, intent()), (offer(),), lambda wanted, _: order(NAME, wanted.card))
        self.follower = self.newcomer()

    def newcomer(self) -> Follower:
        """Another process that goes on with it."""
        rental = self.desk.ledger.rentals()[NAME]
        return Follower(self.desk, rental, Means(self._reach, self._collect, self.bundle))

    def state(self, phase: str, **more: object) -> None:
        (self.home / "state.json").write_text(json.dumps({"phase": phase, "at": self.clock.now(), **more}))

    def to_the_end(self, every_s: float = 10.0, limit_s: float = 1e5) -> str:
        begun = self.clock.monotonic()
        while (reason := self.follower.turn()) is None:
            assert self.clock.monotonic() - begun < limit_s
            self.clock.advance(every_s)
        return reason

    def paid(self) -> float:
        self.server.cloud.tick()
        return sum(pod.cost_usd for pod in self.server.cloud.pods.values())

    def booked(self) -> float:
        ended = self.desk.ledger.rentals()[NAME].ended
        assert ended is not None and ended.cost_usd is not None
        return ended.cost_usd

    def pod_id(self) -> str:
        return str(self.desk.ledger.rentals()[NAME].pod_id)

    def _reach(self, pod: Pod) -> Reach | None:
        return FolderReach(self.home) if pod.state is PodState.RUNNING else None

    def _collect(self, reach: Reach) -> Brought:
        self.brought += 1
        return Brought()


@contextmanager
def staged(tmp_path: Path, *faults: Fault) -> Iterator[Stage]:
    with paper_cloud(*faults) as (server, clock):
        yield Stage(server, clock, tmp_path)
