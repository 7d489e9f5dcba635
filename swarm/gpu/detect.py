"""Which device does this machine offer?"""

from swarm.errors import UsageError
from swarm.gpu.cpu import CpuProbe
from swarm.gpu.nvml import NvmlProbe
from swarm.gpu.reading import GpuProbe, NoDevice


def detect_probe(device: str) -> GpuProbe:
    """`auto` takes NVIDIA devices, and the CPU on a machine that has none.

    Raises Unusable where there is a card that cannot be used, NoDevice for `cuda` on a machine without one, and
    UsageError for another word.
    """
    if device not in ("auto", "cuda", "cpu"):
        raise UsageError(f"--device is {device!r}; it must be auto, cuda or cpu.")
    if device == "cpu":
        return CpuProbe()
    try:
        return NvmlProbe()
    except NoDevice:
        if device == "cuda":
            raise
        return CpuProbe()
