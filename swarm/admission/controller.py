"""Requests, leases and their end. Each process that wants a device has a controller; the ledger is all they share.

Each call locks the ledger, removes what dead processes left, reads the devices and builds the state from both. A
waiting ticket then asks the policy and takes the grant if it is its own. A grant to another ticket is left to the
process of that ticket, because the lock of the lease must be its.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from swarm.admission.lease import Lease, child_env
from swarm.admission.ledger.history import append_history, load_history
from swarm.admission.ledger.identity import identify
from swarm.admission.ledger.intake import Intake, largest_room_mib, lease_entry
from swarm.admission.ledger.ledger import Ledger
from swarm.admission.ledger.snapshot import Snapshot, names_of, require_card, take_snapshot
from swarm.admission.policy.core import decide, lone_room_mib, never_fits, throttled
from swarm.admission.policy.ended_run import EndedRun
from swarm.admission.policy.events import Grant, Kill, Tick
from swarm.admission.policy.explain import why
from swarm.admission.policy.model import DRAIN_LIMIT_S, Device, Ending, Hold
from swarm.admission.policy.oom import Observed, classify, deficit_mib
from swarm.admission.policy.predict import Prediction
from swarm.admission.policy.request import Released, Request
from swarm.admission.policy.runtime import endangered, gone, is_over
from swarm.admission.ticket import Ticket
from swarm.clock import Clock
from swarm.errors import NeverFits
from swarm.failpoints import failpoint
from swarm.gpu.host import HostLimits, host_limits
from swarm.gpu.reading import GpuProbe

CONTEXT_MIB = 600  # of a bare CUDA context; an assumption until `swarm gpu selftest` has run on the card


class AdmissionController:
    """Admits trials of one machine to its devices. Not for use by several threads at once."""

    def __init__(
        self,
        root: Path,
        probe: GpuProbe,
        clock: Clock,
        limits: HostLimits | None = None,
        cards: tuple[str, ...] = (),
    ) -> None:
        """`cards`: UUIDs of the devices that its requests may have, all of one model; empty is any. Raises
        AdmissionError when the ledger's folder cannot be used."""
        self._ledger = Ledger(root)
        self._probe = probe
        self._clock = clock
        self._context_mib = CONTEXT_MIB if probe.kind == "cuda" else 0
        self._limits = host_limits() if limits is None else limits
        self._incidents: list[int] = []
        self._cards = cards

    def request(self, request: Request) -> Ticket:
        """Take a place in the queue. Raises NeverFits when no idle device of this machine could grant it, NoCardLeft
        when all that it may have are gone."""
        request = replace(request, cards=self._cards)
        with self._ledger.locked():
            snapshot = self._snapshot()
            require_card(snapshot, self._cards, self._clock.monotonic())
            intake, prediction = self._predict(request, snapshot)
            sequence, now = self._ledger.next_sequence(), self._clock.monotonic()
            entry = intake.ticket_entry(request, prediction, sequence, now)
            if (reason := never_fits(snapshot.state, entry.demand)) is not None:
                raise NeverFits(reason)
            descriptor = self._ledger.add_ticket(entry)
        return Ticket(self, request, entry, prediction, descriptor)

    def predict(self, request: Request) -> Prediction:
        """What `request` would reserve, and from which evidence, without a place in the queue."""
        with self._ledger.locked():
            return self._predict(request, self._snapshot())[1]

    def require_card(self) -> None:
        """Raises NoCardLeft when every device that its requests may have is gone."""
        with self._ledger.locked():
            require_card(self._snapshot(), self._cards, self._clock.monotonic())

    def lost_card(self, lease: Lease) -> str | None:
        """What the driver says of a lease's device that it has just lost; None while it has not."""
        with self._ledger.locked():
            readings = self._snapshot().readings
        lost = next((reading for reading in readings if reading.uuid == lease.device and reading.gone), None)
        return None if lost is None else f"its card is lost: {lost.name} ({lost.uuid}), {lost.fault}"

    def try_grant(self, ticket: Ticket) -> Lease | str:
        """The lease, or why there is none yet. Raises NoCardLeft."""
        with self._ledger.locked():
            now = self._clock.monotonic()
            self._ledger.mark_polled(ticket.entry, now)
            snapshot = self._snapshot()
            require_card(snapshot, self._cards, now)
            _, actions = decide(snapshot.state, Tick(), now)
            mine = (a for a in actions if isinstance(a, Grant) and a.ticket_id == ticket.ticket_id)
            grant = next(mine, None)
            if grant is None:
                return why(snapshot.state, ticket.ticket_id, names_of(snapshot))
            return self._take(ticket, grant, snapshot, now)

    def withdraw(self, ticket: Ticket) -> None:
        with self._ledger.locked():
            self._ledger.drop_ticket(ticket.entry, ticket.descriptor)

    def bind(self, lease: Lease, supervisor_pid: int) -> None:
        process = identify(supervisor_pid)
        with self._ledger.locked():
            entry = self._ledger.lease(lease.device, lease.lease_id)
            if entry is not None:
                failpoint("bind.before_record")
                self._ledger.save_lease(replace(entry, supervisor=process))
                failpoint("bind.after_record")

    def check(self, lease: Lease) -> Kill | None:
        with self._ledger.locked():
            now = self._clock.monotonic()
            snapshot = self._snapshot()
            device = snapshot.state.devices.get(lease.device)
            entry = self._ledger.lease(lease.device, lease.lease_id)
            hold = None if device is None else _hold(device, lease.lease_id)
            if device is None or hold is None or entry is None:
                return None
            failpoint("heartbeat.before_record")
            peak = max(entry.peak_mib, hold.measured_mib)
            self._ledger.save_lease(replace(entry, hold=hold, heartbeat_s=now, peak_mib=peak))
            failpoint("heartbeat.after_record")
            if (lost := gone(device, now)) is not None:
                return Kill(lease.lease_id, lost, lost=True)
            reason = endangered(snapshot.state, device, hold) if is_over(hold, now) else None
            return None if reason is None else Kill(lease.lease_id, reason)

    def cotenants(self, lease: Lease) -> set[str]:
        with self._ledger.locked():
            leases = self._snapshot().leases
        beside = (entry for entry in leases if entry.uuid == lease.device and entry.draining_until_s is None)
        return {entry.trial_id for entry in beside if entry.lease_id != lease.lease_id}

    @contextmanager
    def launching(self, lease: Lease, settle_s: float) -> Iterator[None]:
        if self._probe.kind == "cpu":
            yield
            return
        gate = self._ledger.root / lease.device / "launch.lock"
        with FileLock(gate, fallback_to_soft=False, preserve_lock_file=True):
            before = self._pids(lease.device)
            yield
            give_up = self._clock.monotonic() + settle_s
            while not (new := self._pids(lease.device) - before) and self._clock.monotonic() < give_up:
                self._clock.sleep(0.2)
            if len(new) == 1:
                self._note_host_pid(lease, new.pop())

    def release(self, lease: Lease, observed: Observed | None) -> Released:
        ended = EndedRun(
            request=lease.request,
            reservation_mib=lease.reservation_mib,
            alone=lease.alone,
            predicted_mib=lease.predicted_mib,
            source=lease.source,
            ending=Ending.OTHER if observed is None else classify(observed, lease.cap_mib),
            observed=observed,
        )
        with self._ledger.locked():
            device = self._snapshot().state.devices[lease.device]
            failpoint("release.before_history")
            self._record_peak(ended, device.name, self._peak_on_device(lease))
            failpoint("release.after_history")
            self._note_incident(device, lease.lease_id, ended)
            self._give_back(lease, device)
        return Released(ended.ending, ended.following(self._context_mib, lone_room_mib(device)))

    def settle(self, request: Request, reservation_mib: int, observed: Observed) -> Released:
        """As `Lease.release`, for a trial whose lease was granted to a process that is dead. The lease ended with the
        trial's processes and only its peak is recorded; what had been predicted for it is not known any more."""
        ended = EndedRun(
            request=request,
            reservation_mib=reservation_mib,
            alone=request.alone,
            predicted_mib=0,
            source="given",
            ending=classify(observed, max(1, reservation_mib - self._context_mib)),
            observed=observed,
        )
        with self._ledger.locked():
            snapshot = self._snapshot()
            room_mib = largest_room_mib(snapshot.state, self._cards)
            self._record_peak(ended, self._device_name(snapshot))
        return Released(ended.ending, ended.following(self._context_mib, room_mib))

    def _predict(self, request: Request, snapshot: Snapshot) -> tuple[Intake, Prediction]:
        room_mib, ram_mib = largest_room_mib(snapshot.state, self._cards), self._limits.ram_mib
        intake = Intake(self._probe.kind, self._device_name(snapshot), self._context_mib, room_mib, ram_mib)
        return intake, intake.predict(request, load_history(self._ledger.root / "history.jsonl"))

    def _device_name(self, snapshot: Snapshot) -> str:
        """Of all that its requests may have: peaks are known by it."""
        mine = (reading.name for reading in snapshot.readings if reading.uuid in self._cards)
        return next(mine, self._probe.name)

    def _snapshot(self) -> Snapshot:
        return take_snapshot(self._ledger, self._probe, self._limits, self._clock.monotonic())

    def _take(self, ticket: Ticket, grant: Grant, snapshot: Snapshot, now: float) -> Lease:
        """Lease first, ticket last: after a death in between the next process to look removes both."""
        device = snapshot.state.devices[grant.uuid]
        entry = lease_entry(ticket.entry, grant, now)
        descriptor = self._ledger.add_lease(entry)
        if grant.bypassed is not None:
            self._ledger.count_bypass(grant.bypassed)
        failpoint("grant.after_bypass")
        self._ledger.save_device(replace(device, last_assigned=snapshot.state.grants + 1))
        self._ledger.drop_ticket(ticket.entry, ticket.descriptor)
        failpoint("grant.after_ticket")
        cap = max(1, grant.hold.reservation_mib - self._context_mib)
        fraction = cap / device.total_mib if self._probe.kind == "cuda" else None
        return Lease(
            lease_id=entry.lease_id,
            request=ticket.request,
            device=grant.uuid,
            device_name=device.name,
            reservation_mib=grant.hold.reservation_mib,
            alone=grant.hold.alone,
            cap_mib=cap,
            cap_fraction=fraction,
            lock_fd=descriptor,
            env=child_env(grant.uuid, fraction),
            granted_s=now,
            predicted_mib=ticket.prediction.peak_mib,
            source=ticket.prediction.source,
            _keeper=self,
        )

    def _record_peak(self, ended: EndedRun, device_name: str, on_device_mib: int = 0) -> None:
        if (record := ended.peak_record(device_name, on_device_mib)) is not None:
            append_history(self._ledger.root / "history.jsonl", record)

    def _peak_on_device(self, lease: Lease) -> int:
        """The driver's own figure for the job, less its context. For RAM the kernel's figure is the better one."""
        entry = self._ledger.lease(lease.device, lease.lease_id)
        if entry is None or self._probe.kind == "cpu":
            return 0
        return max(0, entry.peak_mib - self._context_mib)

    def _note_incident(self, device: Device, lease_id: str, ended: EndedRun) -> None:
        """Bring the throttles on disk to what the policy says they are after this ending."""
        deficit = 0 if ended.observed is None else deficit_mib(ended.observed.report)
        after = throttled(device, ended.ending, deficit, self._clock.monotonic()).throttles
        for name, entry in self._ledger.incidents(device.uuid):
            kept = next((t for t in after if t.at_s == entry.at_s and t.running == entry.running), None)
            if kept is None:
                self._ledger.drop_incident(device.uuid, name)
            else:
                self._ledger.save_incident(device.uuid, name, kept)
        if len(after) > len(device.throttles):
            self._incidents.append(self._ledger.add_incident(device.uuid, lease_id, after[-1]))
        failpoint("release.after_incident")

    def _give_back(self, lease: Lease, device: Device) -> None:
        entry = self._ledger.lease(lease.device, lease.lease_id)
        hold = _hold(device, lease.lease_id)
        if entry is not None and hold is not None and device.returns_slowly and not device.lost:
            until = self._clock.monotonic() + DRAIN_LIMIT_S
            hold = replace(hold, measured_mib=hold.known_mib(self._clock.monotonic()))
            self._ledger.save_lease(replace(entry, hold=hold, draining_until_s=until))
        else:
            self._ledger.drop_lease(lease.device, lease.lease_id)
        failpoint("release.after_record")
        os.close(lease.lock_fd)
        failpoint("release.after_lock")

    def _pids(self, device: str) -> set[int]:
        return {use.pid for reading in self._probe.read() if reading.uuid == device for use in reading.processes}

    def _note_host_pid(self, lease: Lease, host_pid: int) -> None:
        with self._ledger.locked():
            entry = self._ledger.lease(lease.device, lease.lease_id)
            if entry is not None:
                self._ledger.save_lease(replace(entry, host_pid=host_pid))


def _hold(device: Device, lease_id: str) -> Hold | None:
    return next((hold for hold in device.holds if hold.lease_id == lease_id), None)
