"""One trial = one process tree under a deadline and a sandbox.

    python -m swarm.supervisor T/spec.json [--lease-fd N]

Standard library only: nothing heavy is imported into the process that supervises.
"""

from swarm.supervisor.launch import Running, attach, kill_leftovers, launch
from swarm.supervisor.spec import Ending, PhaseResult, PhaseSpec, TrialResult, TrialSpec
from swarm.supervisor.zygote import Zygote

__all__ = [
    "Ending",
    "PhaseResult",
    "PhaseSpec",
    "Running",
    "TrialResult",
    "TrialSpec",
    "Zygote",
    "attach",
    "kill_leftovers",
    "launch",
]
