"""A simulated device: it enforces its total, and each process's allocator cap where one is set."""

from dataclasses import dataclass, field, replace
from enum import Enum

from swarm.admission.policy.model import HEADROOM_FRACTION, HEADROOM_MIB
from swarm.gpu.reading import Attribution, DeviceReading


class Answer(Enum):
    OK = "ok"
    OWN_CAP = "own_cap"
    DEVICE_FULL = "device_full"


@dataclass
class Process:
    """`allocator_mib` is what a cap counts; `raw_mib` is not counted: the context, and allocations around torch."""

    reservation_mib: int
    cap_mib: int | None
    alone: bool = False
    allocator_mib: int = 0
    raw_mib: int = 0

    @property
    def used_mib(self) -> int:
        return self.allocator_mib + self.raw_mib

    @property
    def over(self) -> bool:
        return self.used_mib > self.reservation_mib * 1.05


@dataclass
class Card:
    uuid: str
    total_mib: int = 24564
    reserved_mib: int = 464
    foreign_mib: int = 0
    returning_mib: int = 0
    used_mib: int = 0
    lost: bool = False
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def usable_mib(self) -> int:
        return self.total_mib - self.reserved_mib

    @property
    def free_mib(self) -> int:
        return self.usable_mib - self.foreign_mib - self.returning_mib - self.used_mib

    @property
    def headroom_mib(self) -> int:
        return max(HEADROOM_MIB, int(self.total_mib * HEADROOM_FRACTION))

    @property
    def counted_mib(self) -> int:
        return sum(max(process.reservation_mib, process.used_mib) for process in self.processes.values())

    def reading(self, attribution: Attribution) -> DeviceReading:
        reading = DeviceReading(self.uuid, self.uuid, self.total_mib, self.free_mib, self.reserved_mib, attribution)
        return (
            replace(reading, free_mib=0, lost=True, fault="NVMLError_GpuIsLost: GPU is lost") if self.lost else reading
        )

    def start(self, run_id: str, process: Process) -> None:
        self.processes[run_id] = process

    def set_use(self, run_id: str, allocator_mib: int, raw_mib: int) -> tuple[Answer, int]:
        """Change what a process holds. Where that fails it keeps what it had; the number is the missing memory."""
        process = self.processes[run_id]
        if process.cap_mib is not None and allocator_mib > process.cap_mib:
            return Answer.OWN_CAP, allocator_mib - process.cap_mib
        more = allocator_mib + raw_mib - process.used_mib
        if more > self.free_mib:
            return Answer.DEVICE_FULL, more - self.free_mib
        process.allocator_mib, process.raw_mib = allocator_mib, raw_mib
        self.used_mib += more
        return Answer.OK, 0

    def end(self, run_id: str) -> int:
        """The process is dead; its memory is on its way back until `returned`."""
        process = self.processes.pop(run_id)
        self.used_mib -= process.used_mib
        self.returning_mib += process.used_mib
        return process.used_mib

    def returned(self, mib: int) -> None:
        self.returning_mib -= mib

    def set_foreign(self, mib: int) -> None:
        """Somebody else's processes; they get what is there and no more."""
        self.foreign_mib = min(mib, self.foreign_mib + max(0, self.free_mib))
