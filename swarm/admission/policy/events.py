"""What may happen to the policy, and what it may answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from swarm.admission.policy.model import Demand, Ending, Hold
from swarm.gpu.reading import DeviceReading


@dataclass(frozen=True, slots=True)
class Submitted:
    """A new request, of which `never_fits` says that an idle machine could grant it."""

    demand: Demand


@dataclass(frozen=True, slots=True)
class Sampled:
    """One device was read. `measured`: MiB by lease where attribution is MATCHED; a lease that is missing uses 0."""

    reading: DeviceReading
    measured: Mapping[str, int]


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
    """`lost`: its device is gone; it is not the job's doing and teaches nothing about its memory."""

    lease_id: str
    reason: str
    lost: bool = False


Action: TypeAlias = Grant | Kill
