"""What the devices report: one frozen reading a device, from NVML or from the machine's own memory.

A CPU is a device like any other: its memory is RAM and its slots are cores.
"""

from swarm.gpu.cpu import CpuProbe
from swarm.gpu.detect import detect_probe
from swarm.gpu.host import HostLimits, host_limits
from swarm.gpu.nvml import NvmlProbe
from swarm.gpu.reading import Attribution, DeviceKind, DeviceReading, GpuProbe, NoDevice, ProcessUse
from swarm.gpu.unusable import Unusable

__all__ = [
    "Attribution",
    "CpuProbe",
    "DeviceKind",
    "DeviceReading",
    "GpuProbe",
    "HostLimits",
    "NoDevice",
    "NvmlProbe",
    "ProcessUse",
    "Unusable",
    "detect_probe",
    "host_limits",
]
