"""What a lack of memory looks like, and whose it was: one table of the texts with which torch and CUDA fail.

    cap      torch's allocator gave up: at the trial's own cap, or at the end of the device; the numbers tell which
    device   something beside that allocator (a library's workspace, a module, the driver) found the device full
    context  nothing was allocated yet: there is no room for the process as such
    host     the machine's RAM, or on a CPU the trial's own limit

Compiled from torch's source, from the libraries' documentation and from bug reports; on a card not yet seen here.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch

from swarm.harness.errors import OutOfMemory
from swarm.trial.config import TrialConfig

Lack = Literal["cap", "device", "context", "host"]

TABLE: tuple[tuple[str, Lack | None], ...] = (
    # A kernel that wants more of a multiprocessor than there is. No memory would help: the program's own mistake.
    (r"out of resource: (shared memory|threads|tensor memory)|OutOfResources", None),
    (r"too many resources requested for launch", None),
    (r"insufficient shared memory \(shm\)|out of shared memory", None),
    # The allocator. It words a cap and a full device alike.
    (r"CUDA out of memory\. Tried to allocate", "cap"),
    # Workspaces and handles of libraries, by their own status.
    (r"CUBLAS_STATUS_ALLOC_FAILED|CUBLAS_STATUS_NOT_INITIALIZED", "device"),
    (r"CUDNN_STATUS_ALLOC_FAILED|CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", "device"),
    (r"CUSOLVER_STATUS_ALLOC_FAILED|CUSPARSE_STATUS_ALLOC_FAILED|CUFFT_ALLOC_FAILED", "device"),
    (r"CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED|NVRTC_ERROR_OUT_OF_MEMORY|nvrtc: .*out of memory", "host"),
    # The driver: a module, a stream, a context, memory around the allocator.
    (r"NCCL.*out of memory|CUDA (driver )?error: out of memory|CUDA_ERROR_OUT_OF_MEMORY", "device"),
    (r"cudaErrorMemoryAllocation|\[CUDA\]: out of memory", "device"),
    # RAM.
    (r"DefaultCPUAllocator: (can't allocate memory|not enough memory)|Cannot allocate memory", "host"),
    (r"std::bad_alloc", "host"),
)
CONTEXT_BYTES = 600 << 20  # what a process takes of the device before its first tensor; as admission assumes it
_MIB = 1 << 20
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": _MIB, "GiB": 1 << 30}
_RAISED = (MemoryError, RuntimeError, OSError)  # torch.OutOfMemoryError and torch.AcceleratorError are RuntimeErrors


def lack_in(error: BaseException, *, started: bool) -> Lack | None:
    """Which lack of memory this is; None for any other error. `started`: CUDA has a context in this process."""
    if isinstance(error, MemoryError):
        return "host"
    text = str(error)
    for pattern, lack in TABLE:
        if re.search(pattern, text):
            return "context" if lack == "device" and not started else lack
    return "cap" if isinstance(error, torch.OutOfMemoryError) else None


@contextmanager
def reported(config: TrialConfig, report: Path) -> Iterator[None]:
    """Whatever is a lack of memory leaves as OutOfMemory, with `report` written so that admission can tell whose it
    was. Everything else leaves as it is."""
    try:
        yield
    except _RAISED as error:
        started = config.device == "cpu" or torch.cuda.is_initialized()
        lack = lack_in(error, started=started)
        if lack is None:
            raise
        raise _out_of_memory(config, report, lack, str(error)) from error


def _out_of_memory(config: TrialConfig, report: Path, lack: Lack, message: str) -> OutOfMemory:
    facts: dict[str, int | str | None] = {"lack": lack, "requested": requested_bytes(message), "reserved": None}
    facts |= {"allowed": None, "device_free": None, "device_total": None}
    if config.device == "cuda":
        facts |= _of_device(config)
        if lack == "context":
            facts |= {"requested": CONTEXT_BYTES, "reserved": 0}
        facts["requested"] = facts["requested"] or 0  # no library says how much it wanted
    elif config.memory_cap_mib is not None:
        facts["allowed"] = config.memory_cap_mib * _MIB
    report.write_text(json.dumps(facts) + "\n")
    first = message.splitlines()[0] if message else "out of memory"
    return OutOfMemory(f"{first} ({lack}; allowed: {facts['allowed']} bytes)")


def _of_device(config: TrialConfig) -> dict[str, int | str | None]:
    try:
        free, total = torch.cuda.mem_get_info()
        reserved = torch.cuda.memory_reserved()
    except RuntimeError:  # there is not even a context
        return {"reserved": 0}
    allowed = int((config.memory_fraction or 1.0) * total)
    return {"reserved": reserved, "device_free": free, "device_total": total, "allowed": allowed}


def requested_bytes(message: str) -> int | None:
    """How much the failing allocation asked for, as torch words it."""
    found = re.search(r"[Tt]ried to allocate ([\d.]+) (bytes|KiB|MiB|GiB)", message)
    return int(float(found[1]) * _UNITS[found[2]]) if found else None
