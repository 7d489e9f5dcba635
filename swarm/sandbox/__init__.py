"""Isolation of a candidate's process without privileges: Landlock for files, seccomp for system calls."""

from swarm.sandbox.ladder import apply, probe
from swarm.sandbox.policy import SandboxPolicy, SandboxReport, candidate_policy

__all__ = ["SandboxPolicy", "SandboxReport", "apply", "candidate_policy", "probe"]
