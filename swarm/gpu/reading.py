"""The values that a probe hands over, and the seam itself."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from swarm.errors import AdmissionError

DeviceKind = Literal["cuda", "cpu"]


class NoDevice(AdmissionError):
    """The requested kind of device is not on this machine, or its driver does not answer."""


class Attribution(StrEnum):
    """May the memory in use be assigned to processes?

    NVML answers with host pids inside containers, with null memory under WSL, and with an empty list behind some
    container runtimes. A policy must work with all three; only MATCHED allows a kill for over-use.
    """

    MATCHED = "matched"
    UNMATCHED = "unmatched"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """Device memory of one process. `used_mib` is None where the driver does not say."""

    pid: int
    used_mib: int | None


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """One device at one moment, in MiB.

    `free_mib` is what the driver says and is never derived: releases disagree on whether `used` contains `reserved`.
    A `lost` reading keeps identity and size and says nothing about memory; `fault` tells why.
    """

    uuid: str
    name: str
    total_mib: int
    free_mib: int
    reserved_mib: int
    attribution: Attribution
    processes: tuple[ProcessUse, ...] = ()
    lost: bool = False
    fault: str | None = None

    @property
    def gone(self) -> bool:
        """The driver says that it has lost the card (an Xid, a card off the bus): it needs a reset to come back. One
        that only gives no answer may do so again."""
        return self.lost and (self.fault or "").startswith(_GONE)


_GONE = ("NVMLError_GpuIsLost", "NVMLError_NotFound")


class GpuProbe(Protocol):
    """Seam: what the devices say now. `read` never blocks for longer than a few seconds and never raises."""

    @property
    def kind(self) -> DeviceKind: ...

    @property
    def name(self) -> str:
        """For people and records, e.g. `NVIDIA GeForce RTX 4090` or `2 cores`."""

    def read(self) -> tuple[DeviceReading, ...]:
        """One reading a device, in a stable order. A device that does not answer is there, marked lost."""
