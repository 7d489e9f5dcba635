"""What a free worker does next, computed from the study alone, so that every worker agrees.

`choose` is the policy; `shares` says how much each arm gets, `stall` reads how the search is doing. Nothing here reads
a file or a clock, and no state is kept: a worker that is replaced goes on where the other stopped.
"""

from workers.dispatch.choose import choose
from workers.dispatch.duties import BaselineReplicate, Duty, Propose, Replicate, Role

__all__ = ["BaselineReplicate", "Duty", "Propose", "Replicate", "Role", "choose"]
