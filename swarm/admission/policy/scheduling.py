"""First come, first served, with EASY backfill. Pure.

The head of the queue has a reservation in the future: the earliest moment at which the deadlines of the running jobs
make room for it. Another job may pass only if it cannot delay that moment, and a head is passed at most four times.
EASY: Lifka, "The ANL/IBM SP scheduling system", JSSPP 1995; here run-time bounds are true, because the supervisor
kills at them.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, replace

from swarm.admission.policy.events import Grant
from swarm.admission.policy.model import (
    FOREVER,
    MAX_BYPASSES,
    AdmissionState,
    Demand,
    Device,
    Hold,
    Host,
    slot,
)

SHADOW_CANDIDATES = 32


@dataclass(frozen=True, slots=True)
class Shadow:
    """When and where the head will start at the latest, and what is to spare there beside it. `left`: jobs that are
    still there then."""

    at_s: float
    uuid: str
    spare_mib: int
    spare_holds: float
    spare_host: Host
    left: int = 0


def schedule(state: AdmissionState, now: float) -> tuple[AdmissionState, tuple[Grant, ...]]:
    """Grant whatever the rule allows at this moment."""
    grants: list[Grant] = []
    while state.queue:
        head = state.queue[0]
        device = best_fit(state, head)
        if device is None:
            break
        state, grant = _take(state, head, device, now, bypassed=None)
        grants.append(grant)
    if len(state.queue) > 1:
        state, passed = _backfill(state, now)
        grants += passed
    return state, tuple(grants)


def best_fit(state: AdmissionState, demand: Demand) -> Device | None:
    """The device with the least room that still fits; among equals the least recently assigned."""
    if not state.free.covers(demand):
        return None
    first = bisect_left(state.by_offer, (demand.memory_mib,))
    any_will_do = not demand.alone and not demand.cards and not demand.most_tenants
    candidates = state.by_offer[first : first + 1] if any_will_do else state.by_offer[first:]
    for offer, _, uuid in candidates:
        device = state.devices[uuid]
        if demand.most_tenants and len(device.holds) >= demand.most_tenants:
            continue
        if offer > 0 and demand.may_have(uuid) and not (demand.alone and (device.holds or device.drains)):
            return device
    return None


def shadow_of(state: AdmissionState, head: Demand) -> Shadow | None:
    """None when no ending of our own jobs can make room: then foreign memory blocks the head, and nobody delays it.

    Any device would do for the bound, so that of many only the roomiest are looked at.
    """
    host = _host_when(state, head)
    if host is None:
        return None
    host_at, spare_host = host
    roomiest = [state.devices[uuid] for _, _, uuid in state.by_offer[-SHADOW_CANDIDATES:]]
    best = _earliest(roomiest, head) or _earliest(state.devices.values(), head)
    if best is None:
        return None
    at, uuid, spare_mib, spare_holds, left = best
    return Shadow(max(at, host_at), uuid, spare_mib, spare_holds, spare_host, left)


def put(state: AdmissionState, device: Device) -> AdmissionState:
    """The state with this device in place of its former self, and the index kept in order."""
    former = slot(state.devices[device.uuid])
    order = list(state.by_offer)
    del order[bisect_left(order, former)]
    insort(order, slot(device))
    return replace(state, devices={**state.devices, device.uuid: device}, by_offer=tuple(order))


def _earliest(devices: Iterable[Device], head: Demand) -> tuple[float, str, int, float, int] | None:
    """(time, device, MiB to spare, jobs to spare, jobs left) of the first moment at which the deadlines make room for
    the head."""
    best: tuple[float, str, int, float, int] | None = None
    for device in devices:
        if device.lost or not head.may_have(device.uuid):
            continue
        most = 0 if head.alone else min(device.concurrency_limit, device.tenants_limit) - 1
        if head.most_tenants:
            most = min(most, head.most_tenants - 1)
        for at, room, left in device.releases:
            if best is not None and at >= best[0]:
                break
            if room >= head.memory_mib and left <= most:
                best = (at, device.uuid, 0 if head.alone else room - head.memory_mib, most - left, left)
                break
    return best


def _backfill(state: AdmissionState, now: float) -> tuple[AdmissionState, list[Grant]]:
    head = state.queue[0]
    shadow = shadow_of(state, head)
    grants: list[Grant] = []
    for demand in state.queue[1:]:
        if shadow is not None and head.bypasses + len(grants) >= MAX_BYPASSES:
            break
        if state.by_offer[-1][0] < demand.memory_mib or (device := best_fit(state, demand)) is None:
            continue
        if shadow is not None:
            if not _harmless(demand, device, shadow, now):
                continue
            shadow = _after(shadow, demand, device, now)
        state, grant = _take(state, demand, device, now, bypassed=None if shadow is None else head.ticket_id)
        grants.append(grant)
    if shadow is not None and grants:
        passed = replace(head, bypasses=head.bypasses + len(grants))
        state = replace(state, queue=(passed, *state.queue[1:]))
    return state, grants


def _harmless(demand: Demand, device: Device, shadow: Shadow, now: float) -> bool:
    if now + demand.walltime_limit_s <= shadow.at_s:
        return True
    if not shadow.spare_host.covers(demand):
        return False
    if device.uuid != shadow.uuid:
        return True
    if demand.most_tenants and demand.most_tenants < shadow.left + 2:  # the head would be one too many for it
        return False
    return not demand.alone and demand.memory_mib <= shadow.spare_mib and shadow.spare_holds >= 1


def _after(shadow: Shadow, demand: Demand, device: Device, now: float) -> Shadow:
    """What the head's reservation has to spare once this job runs beside it."""
    if now + demand.walltime_limit_s <= shadow.at_s:
        return shadow
    shadow = replace(shadow, spare_host=shadow.spare_host.minus(demand))
    if device.uuid != shadow.uuid:
        return shadow
    spare_mib, spare_holds = shadow.spare_mib - demand.memory_mib, shadow.spare_holds - 1
    return replace(shadow, spare_mib=spare_mib, spare_holds=spare_holds, left=shadow.left + 1)


def _host_when(state: AdmissionState, head: Demand) -> tuple[float, Host] | None:
    """When cores and RAM suffice, and what is left then."""
    free = state.free
    if free.covers(head):
        return 0.0, free.minus(head)
    holds = (hold for device in state.devices.values() for hold in device.holds)
    for hold in sorted(holds, key=lambda hold: hold.ends_by_s):
        free = free.plus(hold)
        if free.covers(head):
            return hold.ends_by_s, free.minus(head)
    return None


def _take(
    state: AdmissionState, demand: Demand, device: Device, now: float, *, bypassed: str | None
) -> tuple[AdmissionState, Grant]:
    hold = Hold(
        lease_id=demand.ticket_id,
        reservation_mib=device.offer_mib if demand.alone else demand.memory_mib,
        ends_by_s=now + demand.walltime_limit_s if demand.walltime_limit_s < FOREVER else FOREVER,
        alone=demand.alone,
        cpu_slots=demand.cpu_slots,
        host_ram_mib=demand.host_ram_mib,
        most_tenants=demand.most_tenants,
    )
    grants = state.grants + 1
    state = put(state, replace(device, holds=(*device.holds, hold), last_assigned=grants))
    state = replace(
        state,
        grants=grants,
        free=state.free.minus(hold),
        queue=tuple(waiting for waiting in state.queue if waiting.ticket_id != demand.ticket_id),
        located={**state.located, hold.lease_id: device.uuid},
    )
    return state, Grant(hold, device.uuid, bypassed)
