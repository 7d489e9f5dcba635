"""What the policy sees: devices, who holds what, who waits. Frozen values, no files, no clocks.

All memory is in MiB, all times are seconds on one monotonic clock that every process of the machine shares.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType

from swarm.gpu.reading import Attribution

HEADROOM_MIB = 512
HEADROOM_FRACTION = 0.03
FOREIGN_WINDOW_S = 30.0
DRAIN_LIMIT_S = 10.0
GONE_AFTER_S = 10.0
MAX_BYPASSES = 4
THROTTLE_WINDOW_S = 600.0
THROTTLE_AFTER = 2
CLEAN_RUNS_TO_RECOVER = 3
FOREVER = float("inf")


class Ending(StrEnum):
    """How a lease ended, as far as memory is concerned."""

    CLEAN = "clean"
    OWN_CAP = "own_cap"
    DEVICE_OOM = "device_oom"
    HOST_OOM = "host_oom"
    OVER_RESERVATION = "over_reservation"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Demand:
    """One waiting request. `alone` asks for a device without co-tenants; `memory_mib` is then the least it accepts.

    `cards`: the UUIDs that it may have; empty is any. `most_tenants`: with how many jobs in all on its device its
    budget still fits into its walltime; 0 is any number.
    """

    ticket_id: str
    memory_mib: int
    walltime_limit_s: float
    alone: bool = False
    cpu_slots: int = 1
    host_ram_mib: int = 0
    bypasses: int = 0
    cards: tuple[str, ...] = ()
    most_tenants: int = 0

    def may_have(self, uuid: str) -> bool:
        return not self.cards or uuid in self.cards


@dataclass(frozen=True, slots=True)
class Hold:
    """One granted reservation. `ends_by_s` is a true upper bound: the supervisor kills at it.

    `fading_mib`: what a job used whose process has just gone, until the driver must have it back. Without it the memory
    on its way back would look foreign for half a minute.
    """

    lease_id: str
    reservation_mib: int
    ends_by_s: float
    alone: bool = False
    measured_mib: int = 0
    cpu_slots: int = 1
    host_ram_mib: int = 0
    fading_mib: int = 0
    fading_until_s: float = 0.0
    over: tuple[tuple[float, bool], ...] = ()
    most_tenants: int = 0

    @property
    def counted_mib(self) -> int:
        """What the sum of the rule counts for it: max(R, measured)."""
        return max(self.reservation_mib, self.measured_mib)

    def known_mib(self, now: float) -> int:
        """Memory on the device that is this job's for certain."""
        return self.measured_mib or (self.fading_mib if now < self.fading_until_s else 0)


@dataclass(frozen=True, slots=True)
class Drain:
    """Memory of a job that has ended, which the driver has not yet shown to be free.

    It shrinks with the memory that nobody else accounts for, and is dropped at `until_s`; what is left then is foreign.
    """

    lease_id: str
    memory_mib: int
    until_s: float


@dataclass(frozen=True, slots=True)
class Throttle:
    """One out-of-memory of the device: `running` jobs were too many. Forgotten after 3 clean runs or 10 minutes."""

    at_s: float
    running: int
    deficit_mib: int = 0
    clean: int = 0


@dataclass(frozen=True)
class Device:
    """`reserved_mib` belongs to the driver, `foreign` memory to anybody else.

    `lost`: it does not answer now. `gone_since_s`: since when the driver has said that it is lost for good.
    `returns_slowly`: memory of a dead process comes back some time after it; true for GPUs.
    """

    uuid: str
    name: str
    total_mib: int
    reserved_mib: int = 0
    free_mib: int = 0
    lost: bool = False
    gone_since_s: float | None = None
    returns_slowly: bool = True
    holds: tuple[Hold, ...] = ()
    drains: tuple[Drain, ...] = ()
    throttles: tuple[Throttle, ...] = ()
    foreign_seen: tuple[tuple[float, int], ...] = ()
    foreign_floor_mib: int = 0
    attribution: Attribution = Attribution.UNAVAILABLE
    last_assigned: int = 0

    def is_gone(self, now: float) -> bool:
        """Whether nobody need wait for it: the driver has said so for a while, and not in passing."""
        return self.gone_since_s is not None and now - self.gone_since_s >= GONE_AFTER_S

    @cached_property
    def usable_mib(self) -> int:
        return self.total_mib - self.reserved_mib

    @cached_property
    def occupied_mib(self) -> int:
        """All that is not free, whoever holds it."""
        return max(0, self.total_mib - self.reserved_mib - self.free_mib)

    @cached_property
    def foreign_mib(self) -> int:
        """High-water of what others hold: rises at once, falls when the window has passed."""
        return max((mib for _, mib in self.foreign_seen), default=0)

    @cached_property
    def headroom_mib(self) -> int:
        base = max(HEADROOM_MIB, int(self.total_mib * HEADROOM_FRACTION))
        return base + sum(throttle.deficit_mib for throttle in self.throttles)

    @cached_property
    def committed_mib(self) -> int:
        return sum(hold.counted_mib for hold in self.holds) + sum(drain.memory_mib for drain in self.drains)

    @cached_property
    def room_mib(self) -> int:
        """What one more reservation may be, co-tenants allowed. May be negative."""
        return self.usable_mib - self.foreign_mib - self.headroom_mib - self.committed_mib

    @cached_property
    def tenants_limit(self) -> float:
        """What the walltime of those who are there allows; infinite where it does not matter."""
        return min((hold.most_tenants for hold in self.holds if hold.most_tenants), default=FOREVER)

    @cached_property
    def concurrency_limit(self) -> float:
        """Soft, from recent out-of-memory events of the device; infinite without them."""
        if len(self.throttles) < THROTTLE_AFTER:
            return FOREVER
        return max(1, min(throttle.running for throttle in self.throttles) - 1)

    @cached_property
    def offer_mib(self) -> int:
        """The largest reservation that would be granted now; 0 when the device is closed."""
        most = min(self.concurrency_limit, self.tenants_limit)
        if self.lost or len(self.holds) >= most or any(hold.alone for hold in self.holds):
            return 0
        return max(0, self.room_mib)

    @cached_property
    def releases(self) -> tuple[tuple[float, int, int], ...]:
        """(time, room, holds left) after each hold has reached its deadline, in order of time."""
        room, left = self.room_mib, len(self.holds)
        steps = [(0.0, room, left)] if not self.drains else []
        for drain in self.drains:
            room += drain.memory_mib
        if self.drains:
            steps.append((max(drain.until_s for drain in self.drains), room, left))
        for hold in sorted(self.holds, key=lambda hold: hold.ends_by_s):
            room, left = room + hold.counted_mib, left - 1
            steps.append((hold.ends_by_s, room, left))
        return tuple(steps)


@dataclass(frozen=True, slots=True)
class Host:
    """Cores and RAM, which all leases of the machine share beside the devices."""

    cpu_slots: int
    ram_mib: int

    def covers(self, demand: "Demand") -> bool:
        return demand.cpu_slots <= self.cpu_slots and demand.host_ram_mib <= self.ram_mib

    def minus(self, job: "Demand | Hold") -> "Host":
        return Host(self.cpu_slots - job.cpu_slots, self.ram_mib - job.host_ram_mib)

    def plus(self, job: "Demand | Hold") -> "Host":
        return Host(self.cpu_slots + job.cpu_slots, self.ram_mib + job.host_ram_mib)


Slot = tuple[int, int, str]
"""(offer in MiB, when last assigned, uuid): the order of best fit."""


@dataclass(frozen=True)
class AdmissionState:
    """Everything that a decision depends on. Build it with `opening`, change it only through `decide`.

    `by_offer` indexes the devices and `located` the leases, so that a decision over 500 cards need not look at all.
    """

    devices: Mapping[str, Device]
    limits: Host
    free: Host
    queue: tuple[Demand, ...] = ()
    by_offer: tuple[Slot, ...] = ()
    located: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    grants: int = 0


def opening(devices: tuple[Device, ...], limits: Host, queue: tuple[Demand, ...] = ()) -> AdmissionState:
    """The state of a machine as it is read: devices with their holds, and the waiting requests in order."""
    free = limits
    for device in devices:
        for hold in device.holds:
            free = free.minus(hold)
    return AdmissionState(
        devices={device.uuid: device for device in devices},
        limits=limits,
        free=free,
        queue=queue,
        by_offer=tuple(sorted(slot(device) for device in devices)),
        located={hold.lease_id: device.uuid for device in devices for hold in device.holds},
        grants=max((device.last_assigned for device in devices), default=0),
    )


def slot(device: Device) -> Slot:
    return (device.offer_mib, device.last_assigned, device.uuid)
