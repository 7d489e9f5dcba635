"""Does the card do what the policy believes of it? For `swarm gpu selftest`.

Context size, a cap that bites while a neighbour trains on, memory that comes back after a kill, pids that NVML shows,
what sharing does to speed, whether CUDA works inside the sandbox, and whether further limits (MPS, NVML) bite. Torch
runs in child processes only. On a machine without a GPU each of these is reported as not proven.
"""

from swarm.admission.selftest.children import Check
from swarm.admission.selftest.run import NEVER, PROMISES, SelftestReport, selftest

__all__ = ["NEVER", "PROMISES", "Check", "SelftestReport", "selftest"]
