"""Who may use how much memory of which device.

    controller = AdmissionController(default_root(), detect_probe("auto"), SystemClock())
    lease = controller.request(Request(...)).wait()
    ...                                   # run the trial with lease.env, lease.lock_fd and lease.cap_mib
    released = lease.release(Observed(peak_mib=5482))

The policy is pure (`decide`); the ledger makes it true across processes; the lease is a kernel lock.
"""

from swarm.admission.controller import AdmissionController
from swarm.admission.lease import Lease
from swarm.admission.ledger.ledger import default_root
from swarm.admission.policy.core import decide
from swarm.admission.policy.events import Grant, Infeasible, Kill, Retry
from swarm.admission.policy.model import Ending
from swarm.admission.policy.oom import Observed, OomReport, after_oom, classify, parse_oom
from swarm.admission.policy.request import AdmissionCancelled, Cotenant, DeviceId, Released, Request
from swarm.admission.status import AdmissionStatus, status
from swarm.admission.ticket import Ticket

__all__ = [
    "AdmissionCancelled",
    "AdmissionController",
    "AdmissionStatus",
    "Cotenant",
    "DeviceId",
    "Ending",
    "Grant",
    "Infeasible",
    "Kill",
    "Lease",
    "Observed",
    "OomReport",
    "Released",
    "Request",
    "Retry",
    "Ticket",
    "after_oom",
    "classify",
    "decide",
    "default_root",
    "parse_oom",
    "status",
]
