"""What may happen to the policy, and what it may answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from swarm.admission.policy.model import Demand, Ending, Hold
from swarm.gpu.reading import Attribution


@dataclass(frozen=True, slots=True)
class Submitted:
    """A new request, of which `never_fits` says that an idle machine could grant it."""

    demand: Demand


@dataclass(frozen=True, slots=True)
class Sampled:
    """One device's memory. `measured` holds our leases' use where attribution is MATCHED; a missing lease uses 0."""

    uuid: str
    total_mib: int
    reserved_mib: int
    free_mib: int
    attribution: Attribution
    measured: Mapping[str, int]
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """A lease ended. `deficit_mib`: how much was missing at an out-of-memory of the device."""

    lease_id: str
    ending: Ending
    deficit_mib: int = 0


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; nothing else is known."""


Event: TypeAlias = Submitted | Sampled | Finished | Tick


@dataclass(frozen=True, slots=True)
class Grant:
    """The lease takes the ticket's id: one ticket becomes at most one lease. `bypassed`: the head that it passes."""

    hold: Hold
    uuid: str
    bypassed: str | None = None

    @property
    def ticket_id(self) -> str:
        return self.hold.lease_id


@dataclass(frozen=True, slots=True)
class Kill:
    lease_id: str
    reason: str


Action: TypeAlias = Grant | Kill
