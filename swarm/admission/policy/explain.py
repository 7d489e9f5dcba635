"""Why does it wait, in one sentence that names the holders. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from swarm.admission.policy.model import AdmissionState, Demand, Device
from swarm.admission.policy.scheduling import best_fit, shadow_of


@dataclass(frozen=True, slots=True)
class Waiting:
    """`starts_by_s`: on the monotonic clock, for the head of the queue only; None when it depends on others' memory.

    It is the latest start that the deadlines of the running jobs allow, so most jobs start earlier.
    """

    ticket_id: str
    reason: str
    starts_by_s: float | None


def waiting(state: AdmissionState, names: Mapping[str, str]) -> tuple[Waiting, ...]:
    """Each waiting request in order. `names`: a lease's or ticket's id to what people call it."""
    return tuple(_waiting(state, demand, position, names) for position, demand in enumerate(state.queue))


def why(state: AdmissionState, ticket_id: str, names: Mapping[str, str]) -> str:
    for entry in waiting(state, names):
        if entry.ticket_id == ticket_id:
            return entry.reason
    return "it is not in the queue"


def _waiting(state: AdmissionState, demand: Demand, position: int, names: Mapping[str, str]) -> Waiting:
    shadow = shadow_of(state, demand) if position == 0 else None
    return Waiting(
        ticket_id=demand.ticket_id,
        reason=_reason(state, demand, position, names),
        starts_by_s=None if shadow is None else shadow.at_s,
    )


def _reason(state: AdmissionState, demand: Demand, position: int, names: Mapping[str, str]) -> str:
    if not state.free.covers(demand):
        return _host_reason(state, demand, names)
    if best_fit(state, demand) is not None:
        if position == 0:
            return "there is room, and it starts at its next look"
        head = state.queue[0]
        return f"there is room, but {_name(head.ticket_id, names)} is before it, and passing would delay that one"
    devices = enumerate(state.devices.values())
    mine = ((index, device) for index, device in devices if demand.may_have(device.uuid))
    return "; ".join(_device_reason(index, device, demand, names) for index, device in mine)


def _device_reason(index: int, device: Device, demand: Demand, names: Mapping[str, str]) -> str:
    title = "the CPU" if device.uuid.startswith("CPU-") else f"GPU {index}"
    if device.lost:
        return f"{title} is lost" if device.gone_since_s is not None else f"{title} does not answer"
    alone = next((hold for hold in device.holds if hold.alone), None)
    if alone is not None:
        return f"{title} is held by {_name(alone.lease_id, names)} alone"
    if len(device.holds) >= device.concurrency_limit:
        running = ", ".join(_name(hold.lease_id, names) for hold in device.holds)
        return (
            f"{title} takes {device.concurrency_limit:g} jobs for now, after {len(device.throttles)} device "
            f"out-of-memory events, and runs {running}"
        )
    most = min(device.tenants_limit, demand.most_tenants or device.tenants_limit)
    if len(device.holds) >= most:
        running = ", ".join(_name(hold.lease_id, names) for hold in device.holds)
        beyond = f"with more than {most:g} at once a budget would not fit into its walltime limit"
        return f"{title} runs {running}, and {beyond}"
    parts = [f"{device.total_mib} total"]
    parts += [f"{hold.counted_mib} leased by {_name(hold.lease_id, names)}" for hold in device.holds]
    parts += [f"{drain.memory_mib} of {_name(drain.lease_id, names)} not yet returned" for drain in device.drains]
    for label, mib in (
        ("reserved by the driver", device.reserved_mib),
        ("used by others", device.foreign_mib),
        ("headroom", device.headroom_mib),
    ):
        if mib:
            parts.append(f"{mib} {label}")
    beside = " alone" if demand.alone else ""
    return f"{title} cannot hold {demand.memory_mib} MiB{beside}: {', '.join(parts)}"


def _host_reason(state: AdmissionState, demand: Demand, names: Mapping[str, str]) -> str:
    limits, free = state.limits, state.free
    parts = [
        f"{wanted} {label} of {limit} ({left} free)"
        for label, wanted, left, limit in (
            ("CPU slots", demand.cpu_slots, free.cpu_slots, limits.cpu_slots),
            ("MiB RAM", demand.host_ram_mib, free.ram_mib, limits.ram_mib),
        )
        if wanted > left
    ]
    held = sorted({_name(hold.lease_id, names) for device in state.devices.values() for hold in device.holds})
    return f"it wants {', '.join(parts)}; the rest is held by {', '.join(held)}"


def _name(identifier: str, names: Mapping[str, str]) -> str:
    return names.get(identifier, identifier)
