"""The state machine of the fake: PROVISIONING, STARTING, RUNNING, EXITED, TERMINATED, with a bill for each pod."""

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from swarm.clock import Clock
from swarm.errors import PodError
from swarm.pods.fake.faults import Faults
from swarm.pods.fake.machine import Machine

Json = dict[str, object]
ACTIONS = {
    "PROVISIONING": ("stop", "terminate"),
    "STARTING": ("stop", "terminate"),
    "RUNNING": ("stop", "restart", "terminate"),
    "EXITED": ("start", "terminate"),
    "ERROR": ("start", "terminate"),
    "TERMINATED": (),
}
PAID = ("PROVISIONING", "STARTING", "RUNNING")

# Made-up prices: USD an hour in the secure and in the community cloud, and GB of memory.
CARDS = {
    "NVIDIA GeForce RTX 4090": (0.69, 0.34, 24),
    "NVIDIA GeForce RTX 3090": (0.46, 0.22, 24),
    "NVIDIA RTX A5000": (0.36, 0.26, 24),
    "NVIDIA H100 80GB HBM3": (2.99, 2.69, 80),
}


@dataclass
class FakePod:
    id: str
    body: Json
    price: float
    created_at: float
    key: str
    status: str = "PROVISIONING"
    started_at: float | None = None
    paid_until: float = 0.0
    cost_usd: float = 0.0
    starts_at: float | None = None  # None: never
    dies_at: float | None = None
    hidden_until: float = 0.0

    def text(self, offset_s: float) -> Json:
        def moment(at: float | None) -> str | None:
            return None if at is None else datetime.fromtimestamp(at + offset_s, UTC).isoformat().replace("+00:00", "Z")

        shown = {
            name: self.body[name] for name in ("name", "image", "gpu", "cloud", "disk", "args") if name in self.body
        }
        state: Json = {
            "id": self.id,
            "status": self.status,
            "actions": list(ACTIONS[self.status]),
            "cost": self.price if self.status in PAID else 0.0,
            "ports": self.body.get("ports", []),
            "env": self.body.get("env", {}),
            "mounts": self.body.get("mounts", {}),
            "ssh": {"proxy": None, "direct": None},
            "registry": None,
            "createdAt": moment(self.created_at),
            "startedAt": moment(self.started_at),
        }
        return shown | state


@dataclass
class FakeCloud:
    """Not a second client of anything: tests read `pods`, with what each has cost. Safe for several threads."""

    clock: Clock
    machine: Machine
    faults: Faults = field(default_factory=Faults)
    url: str = ""
    start_s: float = 0.2
    pods: dict[str, FakePod] = field(default_factory=dict)
    changed: Callable[[], None] = lambda: None
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _soon: list[threading.Thread] = field(default_factory=list)
    offset_s: float = 0.0

    def tick(self) -> None:
        """Whatever time has brought about."""
        with self._lock:
            if (fault := self.faults.take("clock")) is not None:
                self.offset_s = fault.seconds
            now = self.clock.now()
            for pod in self.pods.values():
                self._pay(pod, now)
                if pod.status == "PROVISIONING" and pod.starts_at is not None and now >= pod.starts_at:
                    self._run(pod, now)
                elif pod.status == "RUNNING" and pod.dies_at is not None and now >= pod.dies_at:
                    pod.dies_at = None
                    self.machine.end(pod.id)
                    self._become(pod, "EXITED")
                elif pod.status == "RUNNING" and not self.machine.runs(pod.id):
                    self._become(pod, "EXITED")

    def create(self, body: Json, price: float) -> FakePod:
        gpu = body.get("gpu")
        card = str(gpu.get("id")) if isinstance(gpu, Mapping) else ""
        with self._lock:
            now = self.clock.now()
            pod = FakePod(secrets.token_hex(6), body, price, now, secrets.token_hex(16), paid_until=now)
            never = self.faults.take("pod", ("never_starts",), card)
            late = self.faults.take("pod", ("late_start",), card)
            hidden = self.faults.take("create", ("hidden",), card)
            pod.starts_at = None if never else now + self.start_s + (late.seconds if late else 0.0)
            pod.hidden_until = now + hidden.seconds if hidden else 0.0
            self.pods[pod.id] = pod
            self.changed()
            return pod

    def listed(self) -> list[FakePod]:
        """Ended ones are listed no more."""
        with self._lock:
            now = self.clock.now()
            return [pod for pod in self.pods.values() if pod.status != "TERMINATED" and now >= pod.hidden_until]

    def known(self, pod_id: str) -> FakePod | None:
        pod = self.pods.get(pod_id)
        return pod if pod is not None and pod.status != "TERMINATED" else None

    def stop(self, pod: FakePod) -> None:
        with self._lock:
            self._pay(pod, self.clock.now())
            self._become(pod, "EXITED")
        self._afterwards(lambda: self.machine.end(pod.id))

    def start(self, pod: FakePod) -> None:
        with self._lock:
            pod.status, pod.starts_at = "PROVISIONING", self.clock.now() + self.start_s
            pod.paid_until = self.clock.now()
            self.changed()

    def terminate(self, pod: FakePod) -> None:
        """Its processes and its disk go soon after: a pod that asks for its own end still gets the answer."""
        with self._lock:
            self._pay(pod, self.clock.now())
            self._become(pod, "TERMINATED")
        self._afterwards(lambda: self._clear(pod))

    def _clear(self, pod: FakePod) -> None:
        self.machine.end(pod.id)
        self.machine.wipe(pod.id)

    def settle(self) -> None:
        """Waits for all that is to happen soon after."""
        while self._soon:
            self._soon.pop().join()

    def _afterwards(self, does: Callable[[], object]) -> None:
        thread = threading.Thread(target=does)
        self._soon.append(thread)
        thread.start()

    def _run(self, pod: FakePod, now: float) -> None:
        env = pod.body.get("env")
        given = {str(name): str(value) for name, value in env.items()} if isinstance(env, Mapping) else {}
        own = {"RUNPOD_POD_ID": pod.id, "RUNPOD_API_KEY": pod.key, "SWARM_RUNPOD_BASE_URL": self.url}
        try:
            self.machine.start(pod.id, str(pod.body.get("args", "")), {**given, **own})
        except (OSError, ValueError, PodError):
            self._become(pod, "ERROR")
            return
        pod.started_at = now
        if (dies := self.faults.take("pod", ("dies",))) is not None:
            pod.dies_at = now + dies.seconds
        self._become(pod, "RUNNING")

    def _pay(self, pod: FakePod, now: float) -> None:
        if pod.status in PAID:
            pod.cost_usd += max(0.0, now - pod.paid_until) / 3600 * pod.price
        pod.paid_until = max(pod.paid_until, now)

    def _become(self, pod: FakePod, status: str) -> None:
        pod.status = status
        self.changed()
