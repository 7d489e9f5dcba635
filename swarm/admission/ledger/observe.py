"""From the ledger's entries and a fresh reading to the state on which the policy decides."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from swarm.admission.ledger.entries import LeaseEntry, TicketEntry
from swarm.admission.ledger.identity import descendants
from swarm.admission.ledger.ledger import Ledger
from swarm.admission.policy.core import refreshed
from swarm.admission.policy.events import Sampled
from swarm.admission.policy.model import AdmissionState, Host, opening
from swarm.gpu.host import HostLimits
from swarm.gpu.reading import Attribution, DeviceReading, GpuProbe

Window = tuple[tuple[float, bool], ...]


@dataclass(frozen=True, slots=True)
class Observation:
    state: AdmissionState
    leases: tuple[LeaseEntry, ...]
    readings: tuple[DeviceReading, ...]
    tickets: tuple[TicketEntry, ...]


def observe(
    ledger: Ledger,
    probe: GpuProbe,
    limits: HostLimits,
    now: float,
    *,
    windows: Mapping[str, Window] | None = None,
) -> Observation:
    """Call it inside `ledger.locked()`: a reading taken before would show memory whose lease has gone meanwhile.

    `windows`: samples of over-use that the caller has kept of its own leases.
    """
    slow = probe.kind == "cuda"
    readings = probe.read()
    books = [ledger.books(reading, now, returns_slowly=slow) for reading in readings]
    entries = tuple(entry for book in books for entry in book.leases)
    trees = descendants({p.supervisor_pid: p.lease_id for p in entries if p.supervisor_pid is not None})
    devices = []
    for reading, book in zip(readings, books, strict=True):
        holds = tuple(replace(hold, over=(windows or {}).get(hold.lease_id, ())) for hold in book.device.holds)
        device = refreshed(replace(book.device, holds=holds), _sampled(reading, book.leases, trees), now)
        ledger.save_device(device)
        for entry in book.leases:
            if entry.draining_until_s is not None and all(d.lease_id != entry.lease_id for d in device.drains):
                ledger.forget_drain(entry)
        devices.append(device)
    host = Host(limits.cpu_slots, limits.ram_mib)
    tickets = tuple(ledger.tickets())
    return Observation(opening(tuple(devices), host, ledger.waiting(now)), entries, readings, tickets)


def names_of(found: Observation) -> dict[str, str]:
    """What people call the holders and the waiting: their trials."""
    names = {entry.lease_id: f"trial {entry.trial_id} of {entry.agent_id}" for entry in found.leases}
    return names | {entry.ticket_id: f"trial {entry.trial_id} of {entry.agent_id}" for entry in found.tickets}


def _sampled(reading: DeviceReading, leases: tuple[LeaseEntry, ...], trees: Mapping[int, str]) -> Sampled:
    attribution, measured = attribute(reading, leases, trees)
    return Sampled(
        uuid=reading.uuid,
        total_mib=reading.total_mib,
        reserved_mib=reading.reserved_mib,
        free_mib=reading.free_mib,
        attribution=attribution,
        measured=measured,
        lost=reading.lost,
    )


def attribute(
    reading: DeviceReading, leases: tuple[LeaseEntry, ...], trees: Mapping[int, str]
) -> tuple[Attribution, Mapping[str, int]]:
    """Memory by lease. In a container it works for leases whose host pid the launch gate has found, if all have one."""
    if reading.attribution is Attribution.UNAVAILABLE:
        return Attribution.UNAVAILABLE, {}
    owners = dict(trees)
    if reading.attribution is Attribution.UNMATCHED:
        running = [lease for lease in leases if lease.draining_until_s is None]
        if not running or any(lease.host_pid is None for lease in running):
            return Attribution.UNMATCHED, {}
        owners = {lease.host_pid: lease.lease_id for lease in running if lease.host_pid is not None}
    measured: dict[str, int] = {}
    for process in reading.processes:
        lease_id = owners.get(process.pid)
        if lease_id is not None:
            measured[lease_id] = measured.get(lease_id, 0) + (process.used_mib or 0)
    return Attribution.MATCHED, measured
