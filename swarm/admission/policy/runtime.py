"""When may a running job be stopped for the memory it uses? Pure.

Never for a spike, never on a device-wide number, never without attribution. Only a job that is itself over its
reservation by 5 % for ten seconds, and only while somebody else is endangered or kept waiting by it.
"""

from dataclasses import replace

from swarm.admission.policy.model import AdmissionState, Device, Hold
from swarm.gpu.reading import Attribution

TOLERANCE = 1.05
WINDOW_S = 10.0
SAMPLES = 8
SHARE = 0.8


def with_sample(hold: Hold, measured_mib: int, now: float) -> Hold:
    """The hold with one more sample. A job that has never been over keeps an empty window."""
    over = measured_mib > hold.reservation_mib * TOLERANCE
    if not over and not hold.over:
        return hold if hold.measured_mib == measured_mib else replace(hold, measured_mib=measured_mib)
    # Kept for longer than the window, so that what is kept can span it.
    kept = tuple(sample for sample in hold.over if now - sample[0] <= WINDOW_S * 1.5)
    window = (*kept, (now, over))
    if not any(was_over for _, was_over in window):
        window = ()
    return replace(hold, measured_mib=measured_mib, over=window)


def is_over(hold: Hold, now: float) -> bool:
    """At least 8 samples that span 10 s, at least 80 % of them over, the latest one too."""
    window = hold.over
    if len(window) < SAMPLES or now - window[0][0] < WINDOW_S or not window[-1][1]:
        return False
    return sum(over for _, over in window) >= SHARE * len(window)


def gone(device: Device, now: float) -> str | None:
    """Why no job on this device can come to an end; None while it may."""
    if not device.is_gone(now):
        return None
    return f"its card is lost: {device.name} ({device.uuid})"


def endangered(state: AdmissionState, device: Device, hold: Hold) -> str | None:
    """Who suffers from this job's excess; None when nobody does, and then it may go on."""
    if device.attribution is not Attribution.MATCHED or device.lost:
        return None
    uses = f"it uses {hold.measured_mib} MiB of its {hold.reservation_mib} MiB"
    others = [other.lease_id for other in device.holds if other.lease_id != hold.lease_id]
    if others and device.free_mib < device.headroom_mib / 2:
        return f"{uses} and leaves {device.free_mib} MiB on {device.name}, which endangers {', '.join(others)}"
    if not state.queue:
        return None
    head = state.queue[0]
    excess = hold.measured_mib - hold.reservation_mib
    room = device.room_mib
    if room < head.memory_mib <= room + excess and not head.alone and not hold.alone:
        return f"{uses}, and the excess keeps {head.ticket_id} waiting for {head.memory_mib} MiB on {device.name}"
    return None
