"""Places where a test may kill this process or make a step fail: before and after each durable step.

    SWARM_FAILPOINT=grant.after_record:kill      the process dies there by SIGKILL
    SWARM_FAILPOINT=grant.after_record:error     the step raises an OSError there

Unset, a failpoint costs one dictionary look-up.
"""

import os
import signal

REGISTERED = (
    "entry.drafted",
    "ticket.before_lock",
    "ticket.after_lock",
    "ticket.after_record",
    "grant.before_lock",
    "grant.after_lock",
    "grant.after_record",
    "grant.after_bypass",
    "grant.after_ticket",
    "bind.before_record",
    "bind.after_record",
    "heartbeat.before_record",
    "heartbeat.after_record",
    "release.before_history",
    "release.after_history",
    "release.after_incident",
    "release.after_record",
    "release.after_lock",
    "reclaim.before_record",
    "reclaim.after_record",
    "device.before_record",
    "device.after_record",
)


def failpoint(name: str) -> None:
    """Do what SWARM_FAILPOINT asks for at this place. Raises ValueError for a place that is not registered."""
    wanted = os.environ.get("SWARM_FAILPOINT")
    if not wanted:
        return
    if name not in REGISTERED:
        raise ValueError(f"failpoint {name!r} is not registered")
    place, _, what = wanted.partition(":")
    if place != name:
        return
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "error":
        raise OSError(f"failpoint {name}")
