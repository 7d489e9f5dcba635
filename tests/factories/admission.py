"""Controllers, requests and leases of the admission tests."""

import time
from dataclasses import replace
from pathlib import Path

from fakes.steady_probe import CARD, SteadyProbe

from swarm.admission import AdmissionController, Lease, Request, Ticket
from swarm.clock import Clock
from swarm.gpu import GpuProbe, HostLimits

LIMITS = HostLimits(cpu_slots=8, ram_mib=64_000)


def controller(root: Path, clock: Clock, probe: GpuProbe | None = None) -> AdmissionController:
    return AdmissionController(root, probe or SteadyProbe(CARD), clock, LIMITS)


def ask(trial: str, memory_mib: int | None = 8200, **more: object) -> Request:
    return replace(Request("worker_1", trial, "study", 300.0, memory_mib=memory_mib), **more)


def granted(ticket: Ticket, within_s: float = 0.0) -> Lease:
    """The lease of a ticket that has to be granted at once, or within so many seconds of real time."""
    deadline = time.monotonic() + within_s
    while (lease := ticket.poll()) is None:
        assert time.monotonic() <= deadline, ticket.why
        time.sleep(0.005)
    return lease
