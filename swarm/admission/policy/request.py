"""What a worker asks for, and how a lease ended."""

from dataclasses import dataclass, replace

from swarm.admission.policy.model import Ending
from swarm.admission.policy.oom import Infeasible, Retry


@dataclass(frozen=True, slots=True)
class Request:
    """One trial's demand.

    `memory_mib` is the whole reservation, context included. Without it the reservation is predicted from
    `code_sha256`, `parents` (hashes of the parents' code), `batch_ratio`, `structural` (the edit changes more than
    constants), `probe_mib` (peak of a few real steps) and `profile_mib` (the target's own figure).
    `walltime_limit_s` is the limit at which the supervisor kills. On a CPU the memory is RAM, and `host_ram_mib` is
    not counted again; on a GPU a job that asks for more than the machine has is alone in it.
    `cards`: UUIDs of the devices that it may have; empty is any. `most_tenants`: jobs on its device, itself
    included, with which its budget still fits into that limit; 0 is any number.
    """

    agent_id: str
    trial_id: str
    study_id: str
    walltime_limit_s: float
    memory_mib: int | None = None
    alone: bool = False
    code_sha256: str = ""
    parents: tuple[str, ...] = ()
    batch_ratio: float = 1.0
    structural: bool = False
    probe_mib: int | None = None
    profile_mib: int | None = None
    cpu_slots: int = 1
    host_ram_mib: int = 0
    attempt: int = 0
    cards: tuple[str, ...] = ()
    most_tenants: int = 0

    def again(self, retry: Retry) -> "Request":
        """The request for the next attempt of the same trial."""
        return replace(self, memory_mib=retry.memory_mib, alone=retry.alone, attempt=retry.attempt)


@dataclass(frozen=True, slots=True)
class Released:
    """How a lease ended. `following`: Retry, Infeasible (a result that proposers read), or None when it is done."""

    ending: Ending
    following: Retry | Infeasible | None
