"""The machine-wide ledger: who waits and who has a lease, in files that any process of this user may read.

    <root>/ledger.lock                    held for a few milliseconds around each change
    <root>/history.jsonl                  observed peaks, for prediction
    <root>/tickets/<sequence>-<id>.json   a waiting request, beside its `.lock`
    <root>/<device uuid>/device.json      foreign high-water
    <root>/<device uuid>/leases/<id>.json a reservation, beside its `.lock`
    <root>/<device uuid>/incidents/       out-of-memory events of the device

An entry whose `.lock` nobody holds is of a dead process; the next process that looks removes it. The root must be on
a local file system; `flock` is tried out before the first use.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from swarm.admission.ledger.entries import (
    DeviceEntry,
    LeaseEntry,
    TicketEntry,
    read_entry,
    remove_drafts,
    write_entry,
)
from swarm.admission.ledger.flock import holders, is_held, open_locked, prove_exclusion
from swarm.admission.ledger.identity import boot_id
from swarm.admission.policy.model import DRAIN_LIMIT_S, Device, Throttle
from swarm.errors import AdmissionError
from swarm.failpoints import failpoint
from swarm.gpu.reading import DeviceReading

LOCK_TIMEOUT_S = 30.0


def default_root() -> Path:
    return Path(os.environ.get("SWARM_GPU_DIR") or f"/var/tmp/swarm-gpu-{os.getuid()}")


@dataclass(frozen=True, slots=True)
class DeviceEntries:
    """One device's part of the ledger, without what dead processes left."""

    device: Device
    leases: tuple[LeaseEntry, ...]


class Ledger:
    """Every method but the constructor expects to be called inside `locked()`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._tickets.mkdir(mode=0o700, exist_ok=True)
            if root.stat().st_uid != os.getuid():
                raise AdmissionError(f"{root} belongs to another user. Set SWARM_GPU_DIR to a folder of your own.")
            prove_exclusion(root)
        except OSError as error:
            raise AdmissionError(f"the GPU ledger {root} cannot be used: {error}. Set SWARM_GPU_DIR.") from error
        self._lock = FileLock(
            root / "ledger.lock",
            timeout=LOCK_TIMEOUT_S,
            poll_interval=0.005,
            fallback_to_soft=False,
            preserve_lock_file=True,
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude every other process of this machine. Raises AdmissionError after 30 s: somebody is stopped inside."""
        failpoint("ledger.before_lock")
        try:
            self._lock.acquire()
        except Timeout as error:
            raise AdmissionError(
                f"{self.root / 'ledger.lock'} was held for {LOCK_TIMEOUT_S:g} s by another process. "
                f"Look for a stopped swarm process with `fuser {self.root / 'ledger.lock'}`."
            ) from error
        try:
            failpoint("ledger.after_lock")
            yield
        finally:
            self._lock.release()
        failpoint("ledger.after_unlock")

    # Tickets

    def add_ticket(self, entry: TicketEntry) -> int:
        """The descriptor whose lock keeps the place in the queue."""
        failpoint("ticket.before_lock")
        descriptor = open_locked(self._ticket_path(entry).with_suffix(".lock"))
        try:
            failpoint("ticket.after_lock")
            write_entry(self._ticket_path(entry), entry)
            failpoint("ticket.after_record")
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def next_sequence(self) -> int:
        return max((int(path.name.partition("-")[0]) for path in self._tickets.glob("*.lock")), default=0) + 1

    def tickets(self) -> list[TicketEntry]:
        """The living tickets in order; those of dead processes are removed."""
        alive = []
        remove_drafts(self._tickets)
        for lock in sorted(self._tickets.glob("*.lock")):
            entry = read_entry(lock.with_suffix(".json"), TicketEntry)
            if not is_held(lock):
                lock.with_suffix(".json").unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
            elif entry is not None:
                alive.append(entry)
        return alive

    def mark_polled(self, entry: TicketEntry, now: float) -> None:
        """From the file where there is one: others count there how often they have passed it."""
        stored = read_entry(self._ticket_path(entry), TicketEntry) or entry
        write_entry(self._ticket_path(entry), replace(stored, polled_s=now))

    def count_bypass(self, ticket_id: str) -> None:
        for path in self._tickets.glob(f"*-{ticket_id}.json"):
            if (entry := read_entry(path, TicketEntry)) is not None:
                passed = replace(entry.demand, bypasses=entry.demand.bypasses + 1)
                write_entry(path, replace(entry, demand=passed))

    def drop_ticket(self, entry: TicketEntry, descriptor: int) -> None:
        failpoint("drop.before_record")
        self._ticket_path(entry).unlink(missing_ok=True)
        failpoint("drop.after_record")
        self._ticket_path(entry).with_suffix(".lock").unlink(missing_ok=True)
        failpoint("drop.after_lock")
        os.close(descriptor)

    # Leases

    def add_lease(self, entry: LeaseEntry) -> int:
        """The descriptor whose lock is the lease."""
        folder = self._folder(entry.uuid, "leases")
        failpoint("grant.before_lock")
        descriptor = open_locked(folder / f"{entry.lease_id}.lock")
        try:
            failpoint("grant.after_lock")
            write_entry(folder / f"{entry.lease_id}.json", entry)
            failpoint("grant.after_record")
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def lease(self, uuid: str, lease_id: str) -> LeaseEntry | None:
        return read_entry(self.root / uuid / "leases" / f"{lease_id}.json", LeaseEntry)

    def save_lease(self, entry: LeaseEntry) -> None:
        write_entry(self._folder(entry.uuid, "leases") / f"{entry.lease_id}.json", entry)

    def drop_lease(self, uuid: str, lease_id: str) -> None:
        folder = self._folder(uuid, "leases")
        failpoint("lease.before_drop")
        (folder / f"{lease_id}.json").unlink(missing_ok=True)
        failpoint("lease.after_record_gone")
        (folder / f"{lease_id}.lock").unlink(missing_ok=True)
        failpoint("lease.after_drop")

    def forget_drain(self, entry: LeaseEntry) -> None:
        """Its memory is back. A lease that is just being released keeps its files until its lock is gone."""
        if not is_held(self.root / entry.uuid / "leases" / f"{entry.lease_id}.lock"):
            self.drop_lease(entry.uuid, entry.lease_id)

    def leases(self, uuid: str, now: float, *, returns_slowly: bool) -> tuple[LeaseEntry, ...]:
        """What counts on a device. Leases of dead processes are reclaimed first: removed, or left draining."""
        folder = self._folder(uuid, "leases")
        for written in (folder, folder.parent, self._folder(uuid, "incidents")):
            remove_drafts(written)
        kept = []
        for lock in sorted(folder.glob("*.lock")):
            entry = read_entry(lock.with_suffix(".json"), LeaseEntry)
            if is_held(lock):
                if entry is not None:
                    _end_orphans(lock, entry, now)
                    kept.append(entry)
                continue
            entry = _after_death(entry, now, returns_slowly=returns_slowly)
            failpoint("reclaim.before_record")
            if entry is None:
                self.drop_lease(uuid, lock.stem)
            else:
                self.save_lease(entry)
                kept.append(entry)
            failpoint("reclaim.after_record")
        return tuple(sorted(kept, key=lambda entry: (entry.granted_s, entry.lease_id)))

    # Devices

    def device_entries(self, reading: DeviceReading, now: float, *, returns_slowly: bool) -> DeviceEntries:
        """The device as the policy sees it, before this reading's memory figures are applied."""
        leases = self.leases(reading.uuid, now, returns_slowly=returns_slowly)
        stored = read_entry(self.root / reading.uuid / "device.json", DeviceEntry)
        if stored is None or stored.boot != boot_id():
            stored = DeviceEntry(boot=boot_id())
        device = Device(
            uuid=reading.uuid,
            name=reading.name,
            total_mib=reading.total_mib,
            reserved_mib=reading.reserved_mib,
            returns_slowly=returns_slowly,
            holds=tuple(entry.hold for entry in leases if entry.draining_until_s is None),
            drains=tuple(entry.drain() for entry in leases if entry.draining_until_s is not None),
            throttles=tuple(throttle for _, throttle in self.incidents(reading.uuid)),
            foreign_seen=stored.foreign_seen,
            foreign_floor_mib=stored.foreign_floor_mib,
            last_assigned=stored.last_assigned,
            gone_since_s=stored.gone_since_s,
        )
        return DeviceEntries(device, leases)

    def save_device(self, device: Device) -> None:
        failpoint("device.before_record")
        entry = DeviceEntry(
            device.foreign_seen, device.foreign_floor_mib, device.last_assigned, boot_id(), device.gone_since_s
        )
        write_entry(self._folder(device.uuid, "leases").parent / "device.json", entry)
        failpoint("device.after_record")

    # Incidents

    def add_incident(self, uuid: str, name: str, entry: Throttle) -> int:
        """The descriptor that keeps the incident in force: it ends with this process, and a restart begins anew."""
        folder = self._folder(uuid, "incidents")
        failpoint("incident.before_lock")
        descriptor = open_locked(folder / f"{name}.lock")
        failpoint("incident.after_lock")
        write_entry(folder / f"{name}.json", entry)
        failpoint("incident.after_record")
        return descriptor

    def incidents(self, uuid: str) -> list[tuple[str, Throttle]]:
        found = []
        for lock in sorted(self._folder(uuid, "incidents").glob("*.lock")):
            entry = read_entry(lock.with_suffix(".json"), Throttle)
            if entry is None or not is_held(lock):
                self.drop_incident(uuid, lock.stem)
            else:
                found.append((lock.stem, entry))
        return found

    def save_incident(self, uuid: str, name: str, entry: Throttle) -> None:
        write_entry(self._folder(uuid, "incidents") / f"{name}.json", entry)

    def drop_incident(self, uuid: str, name: str) -> None:
        for suffix in (".json", ".lock"):
            (self._folder(uuid, "incidents") / name).with_suffix(suffix).unlink(missing_ok=True)

    @property
    def _tickets(self) -> Path:
        return self.root / "tickets"

    def _ticket_path(self, entry: TicketEntry) -> Path:
        return self._tickets / f"{entry.sequence:012d}-{entry.demand.ticket_id}.json"

    def _folder(self, uuid: str, part: str) -> Path:
        folder = self.root / uuid / part
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


def _after_death(entry: LeaseEntry | None, now: float, *, returns_slowly: bool) -> LeaseEntry | None:
    """What is left of a lease that nobody holds any more."""
    if entry is None or not entry.of_this_boot:
        return None
    if entry.draining_until_s is not None:
        return entry if now < entry.draining_until_s else None
    supervisor = entry.supervisor
    if supervisor is not None and supervisor.alive:
        return entry  # it has closed the descriptor, but it lives
    return replace(entry, draining_until_s=now + DRAIN_LIMIT_S) if returns_slowly else None


def _end_orphans(lock: Path, entry: LeaseEntry, now: float) -> None:
    """Kill what still holds a lease whose supervisor is dead, or whose holder died before it named a supervisor.

    The latter only after the deadline: the supervisor may be alive and an orchestrator may be about to adopt it.
    """
    if entry.holder.alive:
        return
    supervisor = entry.supervisor
    if supervisor.alive if supervisor is not None else now <= entry.hold.ends_by_s:
        return
    for pid in holders(lock):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
