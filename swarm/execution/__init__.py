"""Runs one trial as a tree of processes and says how it ended. Knows no brain, no verdict and no proposal."""

from swarm.execution.harness import harness_root, harness_sha256
from swarm.execution.local import PROBE_WALLTIME_S, Executor, LocalExecutor, TrialOrder
from swarm.execution.outcome import Outcome, read_outcome
from swarm.execution.rungs import score_new_rungs

__all__ = [
    "PROBE_WALLTIME_S",
    "Executor",
    "LocalExecutor",
    "Outcome",
    "TrialOrder",
    "harness_root",
    "harness_sha256",
    "read_outcome",
    "score_new_rungs",
]
