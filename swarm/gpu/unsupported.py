"""Cards that are there and that a study cannot use: refused by name, with the remedy. Never a CPU in their place.

    AMD   torch for ROCm calls a card `cuda`, and NVML knows nothing of it: its memory could not be counted
    MIG   a slice has a UUID of its own, and reports the memory of the whole card to whoever asks for the card
    MPS   its clients share one server: what one breaks breaks all, and in a trial's sandbox it cannot be reached

What would have to differ is in docs/explanation/devices.md.
"""

import importlib.metadata
import os
from collections.abc import Mapping
from pathlib import Path

from swarm.gpu.nvml import NvmlProbe
from swarm.gpu.reading import GpuProbe

MPS_FOLDER = Path("/tmp/nvidia-mps")


def unsupported(
    probe: GpuProbe,
    *,
    environment: Mapping[str, str] = os.environ,
    torch_version: str | None = None,
    mps_folder: Path = MPS_FOLDER,
    amd_driver: Path = Path("/dev/kfd"),
) -> str | None:
    """Why no study runs on the GPU of this machine, and what to do; None if one may. `torch_version`: default is to
    look. A machine without any GPU is not refused."""
    version = _torch_version() if torch_version is None else torch_version
    if "+rocm" in version:
        return (
            f"torch {version} is built for ROCm, and AMD cards are not supported: nothing here could count their "
            "memory. Install torch for CUDA on a machine with an NVIDIA card, or use --device cpu."
        )
    if probe.kind == "cpu":
        amd = f"there is an AMD card ({amd_driver}), and AMD cards are not supported. Use --device cpu."
        return amd if amd_driver.exists() else None
    return _shared_by_others(probe, environment, mps_folder)


def _shared_by_others(probe: GpuProbe, environment: Mapping[str, str], mps_folder: Path) -> str | None:
    if (seen := environment.get("CUDA_VISIBLE_DEVICES", "")).startswith("MIG-"):
        return _mig(f"CUDA_VISIBLE_DEVICES names a MIG slice ({seen})")
    if isinstance(probe, NvmlProbe) and (divided := probe.divided_by_mig()):
        return _mig(f"{divided[0]} is divided by MIG")
    pipe = Path(environment.get("CUDA_MPS_PIPE_DIRECTORY") or mps_folder) / "control"
    if pipe.exists():
        return (
            f"an MPS server is set up ({pipe}), and a trial in its sandbox cannot reach it. Stop it with "
            "`echo quit | nvidia-cuda-mps-control`, or use --device cpu."
        )
    return None


def _mig(what: str) -> str:
    return (
        f"{what}, and a study reserves memory of whole cards. Undo it as root with `nvidia-smi -mig 0` (the card must "
        "be idle), name an undivided card with CUDA_VISIBLE_DEVICES, or use --device cpu."
    )


def _torch_version() -> str:
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return "none"
