"""What a free worker does next, computed from the study alone, so that every worker agrees.

`choose` is the policy; `shares` says how much each arm gets, `stall` reads how the search is doing. Nothing here reads
a file or a clock, and no state is kept: a worker that is replaced goes on where the other stopped.
"""

from workers.dispatch.assignments import Assignment, BaselineReplicate, Propose, Replicate, Role
from workers.dispatch.choose import choose, next_proposal, proposals_are_near, unclaimed_baselines
from workers.dispatch.stall import DIAGNOSIS, diagnosis_due

__all__ = [
    "DIAGNOSIS",
    "Assignment",
    "BaselineReplicate",
    "Propose",
    "Replicate",
    "Role",
    "choose",
    "diagnosis_due",
    "next_proposal",
    "proposals_are_near",
    "unclaimed_baselines",
]
