"""`decide(state, event, now) -> (state, actions)`: the whole policy, without files, clocks or processes.

    admit(j)  iff  R_j <= usable - foreign - headroom - sum(max(R_i, measured_i))  and cores and RAM suffice

What is promised: reservations on a device never exceed that sum at a grant; a job is killed only when it exceeds its
own reservation for ten seconds while somebody is endangered; a waiting head is delayed by nobody behind it.
What is not: that a device without process attribution, whose foreign load grows by more than the headroom between two
readings, has no out-of-memory.
"""

from dataclasses import replace

from swarm.admission.policy.events import Action, Event, Finished, Kill, Sampled, Submitted, Tick
from swarm.admission.policy.model import (
    CLEAN_RUNS_TO_RECOVER,
    DRAIN_LIMIT_S,
    FOREIGN_WINDOW_S,
    HEADROOM_FRACTION,
    HEADROOM_MIB,
    THROTTLE_WINDOW_S,
    AdmissionState,
    Demand,
    Device,
    Drain,
    Ending,
    Hold,
    Throttle,
)
from swarm.admission.policy.runtime import endangered, gone, is_over, with_sample
from swarm.admission.policy.scheduling import put, schedule
from swarm.gpu.reading import Attribution


def decide(state: AdmissionState, event: Event, now: float) -> tuple[AdmissionState, tuple[Action, ...]]:
    """An event that was already taken in (a lease that is gone, a ticket that is known) changes nothing."""
    kills: list[Kill] = []
    match event:
        case Submitted(demand):
            state = _submit(state, demand)
        case Sampled():
            state, kills = _sample(state, event, now)
        case Finished():
            state = _finish(state, event, now)
        case Tick():
            pass
    state, grants = schedule(state, now)
    return state, (*kills, *grants)


def never_fits(state: AdmissionState, demand: Demand) -> str | None:
    """Why this request cannot be granted even on an idle machine; None when it can."""
    if not state.limits.covers(demand):
        return (
            f"the machine has {state.limits.cpu_slots} CPU slots and {state.limits.ram_mib} MiB RAM; "
            f"requested are {demand.cpu_slots} and {demand.host_ram_mib}. Lower the request."
        )
    devices = [device for device in state.devices.values() if demand.may_have(device.uuid)]
    if not devices:
        return f"there is no device {' or '.join(demand.cards)}".rstrip() if demand.cards else "there is no device"
    if any(demand.memory_mib <= lone_room_mib(device) for device in devices):
        return None
    largest = max(devices, key=lone_room_mib)
    return (
        f"{largest.name} cannot hold {demand.memory_mib} MiB, even alone: {largest.total_mib} total, "
        f"{largest.reserved_mib} reserved by the driver, {base_headroom_mib(largest)} headroom. "
        f"Request at most {lone_room_mib(largest)} MiB."
    )


def lone_room_mib(device: Device) -> int:
    """What a job may have on this device when nobody else is there."""
    return device.usable_mib - base_headroom_mib(device)


def base_headroom_mib(device: Device) -> int:
    return max(HEADROOM_MIB, int(device.total_mib * HEADROOM_FRACTION))


def _submit(state: AdmissionState, demand: Demand) -> AdmissionState:
    known = demand.ticket_id in state.located or any(d.ticket_id == demand.ticket_id for d in state.queue)
    return state if known else replace(state, queue=(*state.queue, demand))


def _sample(state: AdmissionState, event: Sampled, now: float) -> tuple[AdmissionState, list[Kill]]:
    device = refreshed(state.devices[event.reading.uuid], event, now)
    state = put(state, device)
    if (lost := gone(device, now)) is not None:
        return state, [Kill(hold.lease_id, lost, lost=True) for hold in device.holds]
    suspects = [(hold, endangered(state, device, hold)) for hold in device.holds if is_over(hold, now)]
    return state, [Kill(hold.lease_id, reason) for hold, reason in suspects if reason is not None]


def refreshed(device: Device, event: Sampled, now: float) -> Device:
    """The device after a reading. A lost device keeps what was known and is closed to new jobs."""
    throttles = tuple(t for t in device.throttles if now - t.at_s < THROTTLE_WINDOW_S)
    reading = event.reading
    if reading.lost:
        since_s = (now if device.gone_since_s is None else device.gone_since_s) if reading.gone else None
        return replace(device, lost=True, gone_since_s=since_s, throttles=throttles)
    holds = device.holds
    if reading.attribution is Attribution.MATCHED:
        holds = tuple(_measured(hold, event.measured.get(hold.lease_id, 0), now) for hold in holds)
    device = replace(
        device,
        total_mib=reading.total_mib,
        reserved_mib=reading.reserved_mib,
        free_mib=reading.free_mib,
        attribution=reading.attribution,
        lost=False,
        gone_since_s=None,
        holds=holds,
        drains=tuple(drain for drain in device.drains if now < drain.until_s),
        throttles=throttles,
    )
    return _with_foreign(device, now)


def _measured(hold: Hold, mib: int, now: float) -> Hold:
    if mib:
        return with_sample(hold if not hold.fading_mib else replace(hold, fading_mib=0), mib, now)
    if hold.measured_mib:
        hold = replace(hold, fading_mib=hold.measured_mib, fading_until_s=now + DRAIN_LIMIT_S)
    return with_sample(hold, 0, now)


def _with_foreign(device: Device, now: float) -> Device:
    """Occupied memory is split in three: our jobs', what our dead jobs have not returned, and foreign."""
    if device.attribution is Attribution.MATCHED:
        ours = sum(hold.known_mib(now) for hold in device.holds)
        drains = _shrunk(device.drains, device.occupied_mib - ours)
        foreign = max(0, device.occupied_mib - ours - sum(drain.memory_mib for drain in drains))
        floor = foreign
    else:
        # The driver does not say whose memory it is. Ours is at most what we count for our jobs and drains; what was
        # in use before our first job stays foreign.
        idle = not device.holds and not device.drains
        floor = device.occupied_mib if idle else min(device.foreign_floor_mib, device.occupied_mib)
        drains = _shrunk(device.drains, device.occupied_mib - floor)
        ours = sum(hold.counted_mib for hold in device.holds) + sum(drain.memory_mib for drain in drains)
        foreign = max(floor, device.occupied_mib - ours)
    # Only values that can still become the maximum are kept: later and larger.
    kept = tuple((at, mib) for at, mib in device.foreign_seen if now - at <= FOREIGN_WINDOW_S and mib > foreign)
    return replace(device, drains=drains, foreign_seen=(*kept, (now, foreign)), foreign_floor_mib=floor)


def _shrunk(drains: tuple[Drain, ...], unexplained_mib: int) -> tuple[Drain, ...]:
    """The drains, cut to the memory that nobody else accounts for; the oldest is taken to be back first."""
    excess = sum(drain.memory_mib for drain in drains) - max(0, unexplained_mib)
    kept = []
    for drain in drains:
        gone = min(drain.memory_mib, max(0, excess))
        excess -= gone
        if gone < drain.memory_mib:
            kept.append(replace(drain, memory_mib=drain.memory_mib - gone))
    return tuple(kept)


def _finish(state: AdmissionState, event: Finished, now: float) -> AdmissionState:
    uuid = state.located.get(event.lease_id)
    if uuid is None:
        return state
    device = state.devices[uuid]
    hold = next(hold for hold in device.holds if hold.lease_id == event.lease_id)
    # The throttle counts who ran at the failure, the failed one included; so it is taken before the hold goes.
    device = throttled(device, event.ending, event.deficit_mib, now)
    device = without_hold(device, hold, now)
    state = put(state, device)
    located = dict(state.located)
    del located[hold.lease_id]
    return replace(state, located=located, free=state.free.plus(hold))


def throttled(device: Device, ending: Ending, deficit_mib: int, now: float) -> Device:
    """An out-of-memory of the device is remembered for a while; clean runs make it forgotten sooner.

    Where the device is the host's own memory, the kernel's OOM killer has just said the same.
    """
    full = (Ending.DEVICE_OOM,) if device.returns_slowly else (Ending.DEVICE_OOM, Ending.HOST_OOM)
    if ending in full:
        seen = Throttle(now, len(device.holds), min(deficit_mib, device.total_mib // 8))
        return replace(device, throttles=(*device.throttles, seen))
    if ending is Ending.CLEAN and device.throttles:
        counted = (replace(throttle, clean=throttle.clean + 1) for throttle in device.throttles)
        return replace(device, throttles=tuple(t for t in counted if t.clean < CLEAN_RUNS_TO_RECOVER))
    return device


def without_hold(device: Device, hold: Hold, now: float) -> Device:
    """The job is gone; its memory counts until the driver shows it free, or for ten seconds."""
    holds = tuple(other for other in device.holds if other.lease_id != hold.lease_id)
    if not device.returns_slowly or device.lost:
        return replace(device, holds=holds)
    matched = device.attribution is Attribution.MATCHED
    memory = hold.known_mib(now) if matched else hold.reservation_mib
    if memory <= 0:
        return replace(device, holds=holds)
    drain = Drain(hold.lease_id, memory, now + DRAIN_LIMIT_S)
    return replace(device, holds=holds, drains=(*device.drains, drain))
