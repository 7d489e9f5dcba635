"""Who may use how much memory of which device.

    controller = AdmissionController(default_root(), detect_probe("auto"), SystemClock())
    ticket = controller.request(Request(...))
    while (lease := ticket.poll()) is None:
        ...                               # it waits; `ticket.why` says for what
    ...                                   # run the trial with lease.env, lease.lock_fd and lease.cap_mib
    released = lease.release(Observed(peak_mib=5482))

`policy` decides, as a pure function; `ledger` makes the decision hold for every process; a lease is a kernel lock.
"""

from swarm.admission.controller import AdmissionController
from swarm.admission.lease import Lease
from swarm.admission.ledger.ledger import default_root
from swarm.admission.policy.model import Ending
from swarm.admission.policy.oom import Infeasible, Observed, OomReport, Retry
from swarm.admission.policy.request import Released, Request
from swarm.admission.status import status
from swarm.admission.ticket import Ticket

__all__ = [
    "AdmissionController",
    "Ending",
    "Infeasible",
    "Lease",
    "Observed",
    "OomReport",
    "Released",
    "Request",
    "Retry",
    "Ticket",
    "default_root",
    "status",
]
