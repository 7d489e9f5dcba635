"""From a worker's request to the entries of its ticket and of its lease."""

import os
import uuid as uuids
from dataclasses import dataclass

from swarm.admission.ledger.entries import LeaseEntry, TicketEntry
from swarm.admission.ledger.identity import boot_id, identify
from swarm.admission.policy.core import lone_room_mib
from swarm.admission.policy.events import Grant
from swarm.admission.policy.model import AdmissionState, Demand
from swarm.admission.policy.predict import History, PeakQuery, Prediction, predict
from swarm.admission.policy.request import Request
from swarm.gpu.reading import DeviceKind

KILL_GRACE_S = 8.0


@dataclass(frozen=True, slots=True)
class Intake:
    """What a reservation depends on beside the request: kind and name of the devices, size of a context, the most that
    a lone job may have, and the RAM of the machine."""

    kind: DeviceKind
    device_name: str
    context_mib: int
    room_mib: int
    ram_mib: int

    def predict(self, request: Request, history: History) -> Prediction:
        """The peak without the context; what the request says itself goes first."""
        if request.memory_mib is not None:
            return Prediction(request.memory_mib - self.context_mib, 0.0, "given")
        query = PeakQuery(
            code_sha256=request.code_sha256,
            parents=request.parents,
            batch_ratio=request.batch_ratio,
            probe_mib=request.probe_mib,
            profile_mib=request.profile_mib,
            structural=request.structural,
        )
        return predict(query, history, usable_mib=self.room_mib, device=self.device_name)

    def ticket_entry(self, request: Request, prediction: Prediction, sequence: int, now: float) -> TicketEntry:
        memory, alone = prediction.peak_mib + self.context_mib, False
        if prediction.source != "given":
            memory, alone = prediction.demand(self.context_mib, self.room_mib)
        return TicketEntry(
            demand=Demand(
                ticket_id=uuids.uuid4().hex[:12],
                memory_mib=memory,
                walltime_limit_s=request.walltime_limit_s + KILL_GRACE_S,
                alone=alone or request.alone,
                cpu_slots=request.cpu_slots,
                host_ram_mib=0 if self.kind == "cpu" else min(request.host_ram_mib, self.ram_mib),
                cards=request.cards,
                most_tenants=request.most_tenants,
            ),
            sequence=sequence,
            agent_id=request.agent_id,
            study_id=request.study_id,
            trial_id=request.trial_id,
            submitted_s=now,
            polled_s=now,
            holder=identify(os.getpid()),
            boot=boot_id(),
        )


def lease_entry(ticket: TicketEntry, grant: Grant, now: float) -> LeaseEntry:
    return LeaseEntry(
        hold=grant.hold,
        uuid=grant.uuid,
        agent_id=ticket.agent_id,
        study_id=ticket.study_id,
        trial_id=ticket.trial_id,
        granted_s=now,
        heartbeat_s=now,
        holder=ticket.holder,
        boot=ticket.boot,
    )


def largest_room_mib(state: AdmissionState, cards: tuple[str, ...]) -> int:
    """What a lone job may have on the largest device of those that it may have; all where none is named."""
    devices = (device for device in state.devices.values() if not cards or device.uuid in cards)
    return max((lone_room_mib(device) for device in devices), default=0)
