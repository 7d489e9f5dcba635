"""The JSON file beside each lock: what a ticket, a lease or an incident is. Whether it still counts, the lock says."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from swarm.admission.ledger.identity import Identity, boot_id
from swarm.admission.policy.model import Demand, Drain, Hold, Throttle
from swarm.failpoints import failpoint


@dataclass(frozen=True, slots=True)
class TicketEntry:
    """A waiting request. Its sequence number is its place in the queue."""

    demand: Demand
    sequence: int
    agent_id: str
    study_id: str
    trial_id: str
    submitted_s: float
    polled_s: float
    holder: Identity
    boot: str


@dataclass(frozen=True, slots=True)
class LeaseEntry:
    """A reservation, or, with `draining_until_s` set, memory that has not yet come back from a job that is gone."""

    hold: Hold
    uuid: str
    agent_id: str
    study_id: str
    trial_id: str
    granted_s: float
    heartbeat_s: float
    holder: Identity
    boot: str
    peak_mib: int = 0
    supervisor: Identity | None = None
    host_pid: int | None = None
    draining_until_s: float | None = None

    @property
    def lease_id(self) -> str:
        return self.hold.lease_id

    @property
    def of_this_boot(self) -> bool:
        return self.boot == boot_id()

    def drain(self) -> Drain:
        memory = self.hold.measured_mib or self.hold.fading_mib or self.hold.reservation_mib
        return Drain(self.lease_id, memory, self.draining_until_s or 0.0)


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """What the readings of all processes have shown of one device."""

    foreign_seen: tuple[tuple[float, int], ...] = ()
    foreign_floor_mib: int = 0
    last_assigned: int = 0
    boot: str = ""
    gone_since_s: float | None = None


Entry = TypeVar("Entry", TicketEntry, LeaseEntry, DeviceEntry, Throttle)
_KINDS: tuple[type[Any], ...] = (TicketEntry, LeaseEntry, DeviceEntry, Throttle)
_READERS: dict[type[Any], TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in _KINDS}


def write_entry(path: Path, entry: TicketEntry | LeaseEntry | DeviceEntry | Throttle) -> None:
    """Replace the file at once. Not synced: after a power loss the boot id differs, and every entry is void."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    failpoint("entry.before_draft")
    draft.write_text(json.dumps(asdict(entry)) + "\n", encoding="utf-8")
    failpoint("entry.drafted")
    draft.replace(path)
    failpoint("entry.replaced")


def remove_drafts(folder: Path) -> None:
    """Remove what a process left that died while it wrote an entry. Call it under the lock that all writers hold."""
    for draft in folder.glob(".*"):
        draft.unlink(missing_ok=True)


def read_entry(path: Path, kind: type[Entry]) -> Entry | None:
    """None when the file is missing or is not what it should be; a damaged entry counts as none."""
    try:
        entry: Entry = _READERS[kind].validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return entry
