"""The state on which the policy decides, from the ledger's entries and a fresh reading of the devices."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from swarm.admission.ledger.entries import LeaseEntry, TicketEntry
from swarm.admission.ledger.identity import descendants
from swarm.admission.ledger.ledger import Ledger
from swarm.admission.policy.core import refreshed
from swarm.admission.policy.events import Sampled
from swarm.admission.policy.model import AdmissionState, Host, opening
from swarm.errors import NoCardLeft
from swarm.gpu.host import HostLimits
from swarm.gpu.reading import Attribution, DeviceReading, GpuProbe

ASLEEP_AFTER_S = 30.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state at one moment, and what it was made from."""

    state: AdmissionState
    leases: tuple[LeaseEntry, ...]
    readings: tuple[DeviceReading, ...]
    tickets: tuple[TicketEntry, ...]


def take_snapshot(ledger: Ledger, probe: GpuProbe, limits: HostLimits, now: float) -> Snapshot:
    """Call it inside `ledger.locked()`: a reading taken before would show memory whose lease has gone meanwhile."""
    slow = probe.kind == "cuda"
    readings = probe.read()
    stored = [ledger.device_entries(reading, now, returns_slowly=slow) for reading in readings]
    leases = tuple(entry for part in stored for entry in part.leases)
    trees = descendants({entry.supervisor.pid: entry.lease_id for entry in leases if entry.supervisor is not None})
    devices = []
    for reading, part in zip(readings, stored, strict=True):
        device = refreshed(part.device, _sampled(reading, part.leases, trees), now)
        ledger.save_device(device)
        for entry in part.leases:
            if entry.draining_until_s is not None and all(d.lease_id != entry.lease_id for d in device.drains):
                ledger.forget_drain(entry)
        devices.append(device)
    host = Host(limits.cpu_slots, limits.ram_mib)
    tickets = tuple(ledger.tickets())
    # A process that is stopped keeps its place, but delays nobody.
    queue = tuple(ticket.demand for ticket in tickets if now - ticket.polled_s <= ASLEEP_AFTER_S)
    return Snapshot(opening(tuple(devices), host, queue), leases, readings, tickets)


def require_card(snapshot: Snapshot, cards: tuple[str, ...], now: float) -> None:
    """Raises NoCardLeft when every one of `cards` (empty: of the machine's devices) is gone for good."""
    devices = snapshot.state.devices
    mine = [devices[uuid] for uuid in cards if uuid in devices] if cards else list(devices.values())
    if not all(device.is_gone(now) for device in mine):
        return
    faults = {reading.uuid: reading.fault for reading in snapshot.readings}
    lost = [f"{device.name} ({device.uuid}) is lost, {faults[device.uuid]}" for device in mine]
    lost += [f"{uuid} is not in this machine any more" for uuid in cards if uuid not in devices]
    raise NoCardLeft(
        f"no card is left: {'; '.join(lost)}. What ran is recorded. Look for Xid in `dmesg`, reset the card or restart "
        "the machine, and go on with `swarm up --resume`, or on another card with --gpus."
    )


def names_of(snapshot: Snapshot) -> dict[str, str]:
    """For messages: the trial of each lease and of each ticket."""
    names = {entry.lease_id: f"trial {entry.trial_id} of {entry.agent_id}" for entry in snapshot.leases}
    return names | {entry.demand.ticket_id: f"trial {entry.trial_id} of {entry.agent_id}" for entry in snapshot.tickets}


def _sampled(reading: DeviceReading, leases: tuple[LeaseEntry, ...], trees: Mapping[int, str]) -> Sampled:
    attribution, measured = attribute(reading, leases, trees)
    return Sampled(replace(reading, attribution=attribution), measured)


def attribute(
    reading: DeviceReading, leases: tuple[LeaseEntry, ...], trees: Mapping[int, str]
) -> tuple[Attribution, Mapping[str, int]]:
    """Memory by lease. In a container it works for leases whose host pid the launch gate knows, if it knows all."""
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
