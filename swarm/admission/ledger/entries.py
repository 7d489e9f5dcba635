"""The JSON file beside each lock: what a ticket, a lease or an incident is. Whether it still counts, the lock says."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TypeVar

from swarm.admission.ledger.failpoints import failpoint
from swarm.admission.ledger.identity import Identity, boot_id
from swarm.admission.policy.model import Demand, Drain, Hold, Throttle


@dataclass(frozen=True, slots=True)
class TicketEntry:
    """A waiting request. Its sequence number is its place in the queue."""

    ticket_id: str
    sequence: int
    agent_id: str
    study_id: str
    trial_id: str
    memory_mib: int
    walltime_limit_s: float
    alone: bool
    cpu_slots: int
    host_ram_mib: int
    submitted_s: float
    polled_s: float
    pid: int
    starttime: int
    boot: str
    bypasses: int = 0

    def demand(self) -> Demand:
        return Demand(
            ticket_id=self.ticket_id,
            memory_mib=self.memory_mib,
            walltime_limit_s=self.walltime_limit_s,
            alone=self.alone,
            cpu_slots=self.cpu_slots,
            host_ram_mib=self.host_ram_mib,
            bypasses=self.bypasses,
        )


@dataclass(frozen=True, slots=True)
class LeaseEntry:
    """A reservation, or, with `draining_until_s` set, memory that has not yet come back from a job that is gone."""

    lease_id: str
    uuid: str
    agent_id: str
    study_id: str
    trial_id: str
    reservation_mib: int
    alone: bool
    cpu_slots: int
    host_ram_mib: int
    granted_s: float
    ends_by_s: float
    heartbeat_s: float
    pid: int
    starttime: int
    boot: str
    measured_mib: int = 0
    fading_mib: int = 0
    fading_until_s: float = 0.0
    peak_mib: int = 0
    supervisor_pid: int | None = None
    supervisor_starttime: int | None = None
    host_pid: int | None = None
    draining_until_s: float | None = None

    @property
    def holder(self) -> Identity:
        return Identity(self.pid, self.starttime)

    @property
    def supervisor(self) -> Identity | None:
        if self.supervisor_pid is None or self.supervisor_starttime is None:
            return None
        return Identity(self.supervisor_pid, self.supervisor_starttime)

    @property
    def of_this_boot(self) -> bool:
        return self.boot == boot_id()

    def hold(self) -> Hold:
        return Hold(
            lease_id=self.lease_id,
            reservation_mib=self.reservation_mib,
            ends_by_s=self.ends_by_s,
            alone=self.alone,
            measured_mib=self.measured_mib,
            cpu_slots=self.cpu_slots,
            host_ram_mib=self.host_ram_mib,
            fading_mib=self.fading_mib,
            fading_until_s=self.fading_until_s,
        )

    def drain(self) -> Drain:
        memory = self.measured_mib or self.fading_mib or self.reservation_mib
        return Drain(self.lease_id, memory, self.draining_until_s or 0.0)


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """What the readings of all processes have shown of one device."""

    foreign_seen: tuple[tuple[float, int], ...] = ()
    foreign_floor_mib: int = 0
    last_assigned: int = 0
    boot: str = ""


@dataclass(frozen=True, slots=True)
class IncidentEntry:
    """An out-of-memory of the device. It lives as long as the process that saw it, so a restart begins unthrottled."""

    at_s: float
    running: int
    deficit_mib: int
    clean: int = 0

    def throttle(self) -> Throttle:
        return Throttle(self.at_s, self.running, self.deficit_mib, self.clean)


Entry = TypeVar("Entry", TicketEntry, LeaseEntry, DeviceEntry, IncidentEntry)


def write_entry(path: Path, entry: TicketEntry | LeaseEntry | DeviceEntry | IncidentEntry) -> None:
    """Replace the file at once. Not synced: after a power loss the boot id differs, and every entry is void."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(asdict(entry)) + "\n", encoding="utf-8")
    failpoint("entry.drafted")
    draft.replace(path)


def remove_drafts(folder: Path) -> None:
    """Remove what a process left that died while it wrote an entry. Call it under the lock that all writers hold."""
    for draft in folder.glob(".*"):
        draft.unlink(missing_ok=True)


def read_entry(path: Path, kind: type[Entry]) -> Entry | None:
    """None when the file is missing or is not what it should be; a damaged entry counts as none."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(loaded, Mapping):
        return None
    known = {field.name for field in fields(kind)}
    try:
        entry = kind(**{key: value for key, value in loaded.items() if key in known})
    except TypeError:
        return None
    return entry
