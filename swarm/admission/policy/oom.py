"""What ran out of memory, and what comes next. Pure.

Either the job's own cap, or the device, or the host. Only the first is the trial's fault.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from swarm.admission.policy.model import Ending

RETRIES_SHARED = 2
ATTEMPTS_AT_MOST = 4
GROWTH = 1.5
SAFETY = 1.15
ROUND_MIB = 64
LARGE_PIECE_MIB = 20


@dataclass(frozen=True, slots=True)
class Retry:
    """Run the same trial again with this reservation (and alone, when set)."""

    memory_mib: int
    alone: bool
    attempt: int


@dataclass(frozen=True, slots=True)
class Infeasible:
    """The trial does not fit this device, even alone. A result, not an error."""

    reason: str


Lack = Literal["cap", "device", "context", "host"]
LACKS: tuple[Lack, ...] = get_args(Lack)


@dataclass(frozen=True, slots=True)
class OomReport:
    """What was known when memory ran out, in MiB. `allowed_mib` is None when no cap was set.

    `lack`: what failed. "cap", the allocator, at its cap or at the end of the device; "device" and "context", something
    beside it, to which no cap applies; "host", the machine's RAM.
    """

    requested_mib: int
    reserved_mib: int
    allowed_mib: int | None
    device_free_mib: int | None = None
    lack: Lack = "cap"


@dataclass(frozen=True, slots=True)
class Observed:
    """What a finished trial used.

    `peak_mib`: most that the allocator had reserved (CUDA) or that was resident (CPU), without the CUDA context.
    `out_of_memory`: the training ended by an allocation failure. `host_oom`: the kernel's OOM killer was at work.
    `signal`: that ended the trial, unless we sent it. `over_reservation`: we stopped it for exceeding its lease.
    """

    peak_mib: int | None = None
    alloc_retries: int = 0
    out_of_memory: bool = False
    report: OomReport | None = None
    host_oom: bool = False
    signal: int | None = None
    over_reservation: bool = False
    failed: bool = False
    cap_lifted: bool = False


def classify(observed: Observed, cap_mib: int | None) -> Ending:
    """Own cap: the next allocation, in the pieces in which torch takes memory, would have passed the cap. Device: it
    failed although the cap still had room, or was not the allocator's."""
    if observed.over_reservation:
        return Ending.OVER_RESERVATION
    if observed.host_oom:
        return Ending.HOST_OOM
    if not observed.out_of_memory:
        killed = observed.failed or observed.signal is not None
        return Ending.OTHER if killed else Ending.CLEAN
    report = observed.report
    if report is not None and report.lack != "cap":
        return Ending.HOST_OOM if report.lack == "host" else Ending.DEVICE_OOM
    allowed = report.allowed_mib if report is not None and report.allowed_mib is not None else cap_mib
    if report is None or allowed is None:
        # Without a report the cap is the likelier cause: the ledger keeps the device from filling up.
        return Ending.OWN_CAP if cap_mib is not None else Ending.DEVICE_OOM
    return Ending.OWN_CAP if report.reserved_mib + _piece_mib(report.requested_mib) > allowed else Ending.DEVICE_OOM


def _piece_mib(requested_mib: int) -> int:
    """What torch takes of the device for a request: 20 MiB for one of 1 to 10 MiB, else whole pieces of 2 MiB
    (`kLargeBuffer` and `kRoundLarge` in CUDACachingAllocator), and one of both for what rounding to MiB hides."""
    piece = LARGE_PIECE_MIB if requested_mib < LARGE_PIECE_MIB // 2 else 2 * math.ceil(requested_mib / 2)
    return piece + 2


def needed_mib(report: OomReport | None, context_mib: int) -> int:
    """Reservation that would have held what was asked for, with a margin of 15 %; 0 when unknown."""
    if report is None:
        return 0
    return math.ceil((report.reserved_mib + report.requested_mib) * SAFETY) + context_mib


def deficit_mib(report: OomReport | None) -> int:
    """How much the device lacked for the allocation that failed; 0 when unknown."""
    if report is None or report.device_free_mib is None:
        return 0
    return max(0, report.requested_mib - report.device_free_mib)


def after_oom(
    ending: Ending,
    *,
    reservation_mib: int,
    attempt: int,
    alone: bool,
    needed: int = 0,
    device_mib: int,
) -> Retry | Infeasible | None:
    """Whether the trial is run again, and how. None: the ending is no lack of memory, and nothing is repeated.

    Own cap (or over its reservation): at least 1.5 times the reservation, twice; then once alone; then infeasible.
    Device: the same again, it was not the trial's fault. Host: the same again, since the kernel kills whoever is
    largest; then once alone; then infeasible. `device_mib` is what a lone job may have.
    """
    if ending is Ending.HOST_OOM:
        return _with_less_company(reservation_mib, attempt, alone)
    if ending is Ending.DEVICE_OOM:
        return _same_again(reservation_mib, attempt, alone)
    if ending in (Ending.OWN_CAP, Ending.OVER_RESERVATION):
        return _larger(reservation_mib, attempt, alone, needed=needed, device_mib=device_mib)
    return None


def _same_again(reservation_mib: int, attempt: int, alone: bool) -> Retry | Infeasible:
    if not alone:
        return Retry(reservation_mib, alone, attempt)
    if attempt + 1 >= ATTEMPTS_AT_MOST:
        return Infeasible(f"the device was full {attempt + 1} times, with {reservation_mib} MiB and alone")
    return Retry(reservation_mib, alone, attempt + 1)


def _with_less_company(reservation_mib: int, attempt: int, alone: bool) -> Retry | Infeasible:
    if attempt == 0:
        return Retry(reservation_mib, alone, attempt + 1)
    if not alone:
        return Retry(reservation_mib, True, attempt + 1)
    return Infeasible(f"the host ran out of memory {attempt + 1} times, the last time with the trial alone")


def _larger(reservation_mib: int, attempt: int, alone: bool, *, needed: int, device_mib: int) -> Retry | Infeasible:
    if alone:
        return Infeasible(f"out of memory with {reservation_mib} MiB, alone on the device")
    wanted = round_up(max(math.ceil(GROWTH * reservation_mib), needed))
    if attempt < RETRIES_SHARED and wanted <= device_mib:
        return Retry(wanted, False, attempt + 1)
    # The least a lone run must offer is more than what has just failed; more than that is taken when it is there.
    least = round_up(reservation_mib + 1)
    if least > device_mib:
        return Infeasible(f"out of memory with {reservation_mib} MiB of the {device_mib} MiB a lone job has")
    return Retry(least, True, attempt + 1)


def round_up(mib: float) -> int:
    return math.ceil(mib / ROUND_MIB) * ROUND_MIB
