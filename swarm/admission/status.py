"""What the ledger looks like now: for `swarm gpu status`, and for anybody who asks why nothing starts."""

from dataclasses import dataclass
from pathlib import Path

from swarm.admission.ledger.history import load_history
from swarm.admission.ledger.ledger import Ledger
from swarm.admission.ledger.snapshot import Snapshot, names_of, take_snapshot
from swarm.admission.policy.explain import waiting
from swarm.admission.policy.predict import under_prediction_rate
from swarm.clock import Clock, SystemClock
from swarm.gpu.host import host_limits
from swarm.gpu.reading import GpuProbe

HUNG_AFTER_S = 30.0


@dataclass(frozen=True, slots=True)
class HolderStatus:
    """`hung`: no heartbeat for 30 s. A warning and nothing more: a stopped machine must not lose its lease."""

    lease_id: str
    agent_id: str
    study_id: str
    trial_id: str
    reservation_mib: int
    measured_mib: int
    alone: bool
    held_s: float
    ends_in_s: float
    hung: bool
    draining: bool


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """Memory in MiB. `room_mib`: the largest request that would start now. `fault`: why it does not answer."""

    uuid: str
    name: str
    total_mib: int
    free_mib: int
    foreign_mib: int
    headroom_mib: int
    committed_mib: int
    room_mib: int
    concurrency_limit: int | None
    attribution: str
    fault: str | None
    holders: tuple[HolderStatus, ...]


@dataclass(frozen=True, slots=True)
class WaiterStatus:
    """`starts_within_s`: the latest start that the deadlines of the running trials allow; for the first in line only,
    and None when it depends on memory that is not ours."""

    ticket_id: str
    agent_id: str
    study_id: str
    trial_id: str
    memory_mib: int
    waited_s: float
    bypassed: int
    reason: str
    starts_within_s: float | None


@dataclass(frozen=True, slots=True)
class AdmissionStatus:
    root: Path
    devices: tuple[DeviceStatus, ...]
    waiting: tuple[WaiterStatus, ...]
    free_cpu_slots: int
    cpu_slots: int
    observed_runs: int
    under_prediction_rate: float | None


def status(root: Path, probe: GpuProbe, clock: Clock | None = None) -> AdmissionStatus:
    """Read the ledger; what dead processes left is removed first. Raises AdmissionError when it cannot be read."""
    clock = clock or SystemClock()
    ledger = Ledger(root)
    with ledger.locked():
        now = clock.monotonic()
        snapshot = take_snapshot(ledger, probe, host_limits(), now)
        history = load_history(root / "history.jsonl")
    return AdmissionStatus(
        root=root,
        devices=tuple(_device(snapshot, index, now) for index in range(len(snapshot.readings))),
        waiting=_waiting(snapshot, now),
        free_cpu_slots=snapshot.state.free.cpu_slots,
        cpu_slots=snapshot.state.limits.cpu_slots,
        observed_runs=len(history.records),
        under_prediction_rate=under_prediction_rate(history.records),
    )


def _device(snapshot: Snapshot, index: int, now: float) -> DeviceStatus:
    reading = snapshot.readings[index]
    device = snapshot.state.devices[reading.uuid]
    measured = {hold.lease_id: hold.measured_mib for hold in device.holds}
    limit = device.concurrency_limit
    return DeviceStatus(
        uuid=device.uuid,
        name=device.name,
        total_mib=device.total_mib,
        free_mib=device.free_mib,
        foreign_mib=device.foreign_mib,
        headroom_mib=device.headroom_mib,
        committed_mib=device.committed_mib,
        room_mib=device.offer_mib,
        concurrency_limit=None if limit == float("inf") else int(limit),
        attribution=device.attribution.value,
        fault=reading.fault,
        holders=tuple(
            HolderStatus(
                lease_id=entry.lease_id,
                agent_id=entry.agent_id,
                study_id=entry.study_id,
                trial_id=entry.trial_id,
                reservation_mib=entry.hold.reservation_mib,
                measured_mib=measured.get(entry.lease_id, 0),
                alone=entry.hold.alone,
                held_s=now - entry.granted_s,
                ends_in_s=entry.hold.ends_by_s - now,
                hung=now - entry.heartbeat_s > HUNG_AFTER_S,
                draining=entry.draining_until_s is not None,
            )
            for entry in snapshot.leases
            if entry.uuid == device.uuid
        ),
    )


def _waiting(snapshot: Snapshot, now: float) -> tuple[WaiterStatus, ...]:
    reasons = {place.ticket_id: place for place in waiting(snapshot.state, names_of(snapshot))}
    return tuple(
        WaiterStatus(
            ticket_id=entry.demand.ticket_id,
            agent_id=entry.agent_id,
            study_id=entry.study_id,
            trial_id=entry.trial_id,
            memory_mib=entry.demand.memory_mib,
            waited_s=now - entry.submitted_s,
            bypassed=entry.demand.bypasses,
            reason="its process is stopped" if place is None else place.reason,
            starts_within_s=None if place is None or place.starts_by_s is None else max(0.0, place.starts_by_s - now),
        )
        for entry in snapshot.tickets
        for place in (reasons.get(entry.demand.ticket_id),)
    )
