"""What tells apart devices whose results do not compare: the model of a card, or of the processor."""

import contextlib
import platform
from functools import cache
from pathlib import Path

from swarm.gpu.reading import DeviceKind

MAX_CLASS = 120  # characters


def device_class(kind: DeviceKind, card: str) -> str:
    """`card`: the model of the card that was given out, which on a CPU says nothing of the processor."""
    return card[:MAX_CLASS] if kind == "cuda" else processor()


@cache
def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The model of this machine's processor: on a CPU a second of another one is other work."""
    with contextlib.suppress(OSError), cpuinfo.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()[:MAX_CLASS]
    return platform.machine()
