"""What is written down of an attempt while it runs, and the resources that it is recorded with."""

from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, ValidationError

from swarm.admission import Lease, Request
from swarm.execution.attempt import Attempt
from swarm.execution.executor import Started, TrialOrder
from swarm.gpu.device_class import device_class
from swarm.records import Resources
from swarm.trial.config import Device
from swarm.trial.files import Unreadable, read_plain
from swarm.trial.folder import TrialFolder

MAX_NOTE_BYTES = 64 << 20


class Note(BaseModel):
    """T/attempt.json: of the attempt that runs, what an adopter cannot find out any more."""

    model_config = ConfigDict(frozen=True)

    started: Started
    device_name: str
    reserved_by: str
    waited_s: float
    probe_s: float | None
    predicted_mib: int | None = None


def read_notes(folder: TrialFolder) -> tuple[TrialOrder, Note] | None:
    """What a trial was ordered as and granted; None when it was never started, or by another version."""
    try:
        order, note = (read_plain(path, MAX_NOTE_BYTES) for path in (folder.order, folder.attempt))
        return TrialOrder.model_validate_json(order), Note.model_validate_json(note)
    except (Unreadable, ValidationError):
        return None


@dataclass
class Watch:
    """What was seen beside a running attempt."""

    co_tenants: set[str] = field(default_factory=set)
    overlap_s: float = 0.0
    over_reservation: str | None = None
    lost_card: str | None = None
    scored: set[int] = field(default_factory=set)
    rungs: list[tuple[float, float]] = field(default_factory=list)
    looked: float = 0.0
    beside: bool = False  # at the last look

    def ended(self, now: float) -> None:
        """What passed since the last look was spent like it."""
        self.overlap_s += max(0.0, now - self.looked) if self.beside else 0.0


def note_of(request: Request, lease: Lease, device: Device, waited_s: float, probe_s: float | None) -> Note:
    started = Started(
        attempt=request.attempt + 1,
        lease_id=lease.lease_id,
        device_uuid=lease.device,
        reservation_mib=lease.reservation_mib,
        alone=lease.alone,
        device_class=device_class(device, lease.device_name),
    )
    return Note(
        started=started,
        device_name=lease.device_name,
        reserved_by=lease.source,
        waited_s=waited_s,
        probe_s=probe_s,
        predicted_mib=lease.predicted_mib or None,  # 0: it is not known any more
    )


def resources_of(attempt: Attempt, note: Note, watch: Watch, threads: int) -> Resources:
    train, evidence = attempt.train, attempt.evidence
    return Resources(
        device=note.device_name,
        torch=train.torch,
        threads=threads,
        steps=train.steps,
        samples=train.samples,
        solo_rate=train.solo_rate,
        training_s=train.training_seconds,
        wall_s=round(evidence.wall_s, 3),
        waited_s=note.waited_s,
        probe_s=note.probe_s,
        compilation=train.compilation,
        overhead_s=evidence.overhead_s,
        reservation_mib=note.started.reservation_mib,
        reserved_by=note.reserved_by,
        predicted_mib=note.predicted_mib,
        peak_mib=evidence.peak_mib,
        host_peak_mib=evidence.host_peak_mib,
        alloc_retries=train.alloc_retries,
        params_m=train.num_params_M,
        co_tenants=tuple(sorted(watch.co_tenants)),
        overlap_s=round(watch.overlap_s, 1),
    )
