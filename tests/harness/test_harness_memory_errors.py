"""Whose lack of memory it was: the texts of torch and of CUDA's libraries, one by one, and what a prediction leaves.

The texts are from torch's source, documentation and bug reports; none was seen on a card here.
"""

import json
from pathlib import Path

import pytest
import torch

from swarm.harness import memory_errors
from swarm.harness.errors import OutOfMemory
from swarm.harness.memory_errors import lack_in, reported, requested_bytes
from swarm.trial.config import TrialConfig, WorkBudget

CAPPED = (
    "CUDA out of memory. Tried to allocate 512.00 MiB. GPU 0 has a total capacity of 23.53 GiB of which 14.1 GiB is "
    "free. Process 4101 has 8.40 GiB memory in use. 7.42 GiB allowed; Of the allocated memory 6.90 GiB is by PyTorch"
)
FULL = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 24 GiB of which 3 MiB is free."
TEXTS: tuple[tuple[BaseException, str | None], ...] = (
    (torch.OutOfMemoryError(CAPPED), "cap"),
    (torch.OutOfMemoryError(FULL), "cap"),  # the numbers tell which
    (torch.OutOfMemoryError("a wording of a later torch"), "cap"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "device"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"), "device"),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "device"),
    (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), "device"),
    (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"), "host"),
    (RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED"), "device"),
    (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"), "device"),
    (RuntimeError("CUDA driver error: out of memory"), "device"),
    (RuntimeError("Triton Error [CUDA]: out of memory"), "device"),
    (RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"), "device"),
    (RuntimeError("cudaErrorMemoryAllocation"), "device"),
    (RuntimeError("NCCL error: unhandled cuda error, Cuda failure 2 'out of memory'"), "device"),
    (RuntimeError("NVRTC_ERROR_OUT_OF_MEMORY"), "host"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: 4 bytes"), "host"),
    (RuntimeError("std::bad_alloc"), "host"),
    (OSError(12, "Cannot allocate memory"), "host"),
    (MemoryError(), "host"),
    # Mistakes of the program, which more memory would not mend.
    (
        RuntimeError("out of resource: shared memory, Required: 180224, Hardware limit: 101376"),
        None,
    ),
    (RuntimeError("OutOfResources: out of resource: threads, Required: 2048, Hardware limit: 1024"), None),
    (RuntimeError("CUDA error: too many resources requested for launch"), None),
    (RuntimeError("DataLoader worker is killed by signal: Bus error. insufficient shared memory (shm)"), None),
    (RuntimeError("CUDA error: an illegal memory access was encountered"), None),
    (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
    (KeyError("out of memory"), None),
)


@pytest.mark.parametrize(("error", "lack"), TEXTS, ids=[str(error)[:60] for error, _ in TEXTS])
def test_each_text_has_its_class(error: BaseException, lack: str | None) -> None:
    assert lack_in(error, started=True) == lack
    assert lack_in(error, started=False) == ("context" if lack == "device" else lack)


def test_what_was_asked_for_is_read_from_the_text() -> None:
    assert (requested_bytes(CAPPED), requested_bytes(FULL)) == (512 << 20, 20 << 20)
    assert requested_bytes("CUDA error: out of memory") is None


def config(root: Path, device: str) -> TrialConfig:
    return TrialConfig(
        "t",
        "s",
        1,
        device,
        1,
        root,
        root,
        WorkBudget("samples", 1),
        "train.py",
        memory_fraction=0.25,
        memory_cap_mib=1200,
    )


class Card:
    """torch's view of a card of 24,000 MiB of which 100 are free; `started`: there is a context."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, started: bool) -> None:
        def info() -> tuple[int, int]:
            if not started:
                raise RuntimeError("CUDA error: out of memory")
            return 100 << 20, 24_000 << 20

        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: started)
        monkeypatch.setattr(torch.cuda, "mem_get_info", info)
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 5_990 << 20)


@pytest.mark.parametrize(
    ("error", "started", "left"),
    [
        (torch.OutOfMemoryError(CAPPED), True, ("cap", 512, 5990, 6000, 100)),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), True, ("device", 0, 5990, 6000, 100)),
        (RuntimeError("CUDA error: out of memory"), False, ("context", 600, 0, None, None)),
    ],
)
def test_a_lack_leaves_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, started: bool, left: tuple[object, ...]
) -> None:
    Card(monkeypatch, started=started)
    with (
        pytest.raises(OutOfMemory, match=rf"\({left[0]}; allowed"),
        reported(config(tmp_path, "cuda"), tmp_path / "oom.json"),
    ):
        raise error
    said = json.loads((tmp_path / "oom.json").read_text())
    numbers = [said[name] for name in ("requested", "reserved", "allowed", "device_free")]
    assert (said["lack"], *(None if number is None else number >> 20 for number in numbers)) == left


def test_any_other_error_leaves_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), reported(config(tmp_path, "cpu"), tmp_path / "oom.json"):
        raise RuntimeError("shapes do not fit")
    assert not (tmp_path / "oom.json").exists()


def test_the_first_match_decides() -> None:
    """A Triton kernel that wants too much shared memory says `out of resource`, and no class of memory is meant."""
    none = [index for index, (_, lack) in enumerate(memory_errors.TABLE) if lack is None]
    assert none == list(range(len(none)))
