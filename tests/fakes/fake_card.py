"""A 24 GB card made of host memory at a 64th of its size: real processes, real limits, real deaths.

Trainers announce themselves in a folder; the probe sums their private memory and scales it up. The interpreter's own
few MiB play the CUDA context. The cap of a lease becomes RLIMIT_DATA, so that the allocation beyond it really fails.

    python fake_card.py FOLDER NAME STEPS PEAK_MIB [SPIKE_MIB]      one trainer; exit code 11 when out of memory
"""

import os
import resource
import sys
import time
from pathlib import Path

from swarm.gpu.reading import Attribution, DeviceKind, DeviceReading, ProcessUse

SCALE = 64
MIB = 1 << 20
STEP_S = 0.02


class FakeCard:
    """A probe over the trainers of one folder."""

    kind: DeviceKind = "cuda"
    name = "Fake 4090 of host memory"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> tuple[DeviceReading, ...]:
        uses = []
        for path in self._folder.glob("*.pid"):
            used = private_mib(int(path.read_text() or 0))
            if used:
                uses.append(ProcessUse(int(path.read_text()), used * SCALE))
        used = sum(use.used_mib or 0 for use in uses)
        free = max(0, 24_100 - used)
        return (DeviceReading("GPU-fake", self.name, 24_564, free, 464, Attribution.MATCHED, tuple(uses)),)


def private_mib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) // 1024


def train(folder: Path, name: str, steps: int, peak_mib: int, spike_mib: int = 0) -> int:
    """Allocate in ten pieces, then step; one line a step says when. Sizes are those of the card, not of the host."""
    cap = os.environ.get("FAKE_CAP_MIB")
    if cap is not None:
        data = _status_kib("VmData:") * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (data + int(cap) * MIB // SCALE,) * 2)
    (folder / f"{name}.pid").write_text(str(os.getpid()))
    log = (folder / f"{name}.steps").open("w", buffering=1)
    held: list[bytes] = []
    try:
        for step in range(steps):
            if step < 10:
                held.append(b"\1" * (peak_mib * MIB // SCALE // 10))
            if spike_mib and step == 20:
                spike = b"\1" * (spike_mib * MIB // SCALE)
                time.sleep(0.5)
                del spike
            log.write(f"{step} {time.monotonic():.4f}\n")
            time.sleep(STEP_S)
            if (folder / f"{name}.stop").exists():
                break
    except MemoryError:
        return 11
    return 0


def _status_kib(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


if __name__ == "__main__":
    sys.exit(train(Path(sys.argv[1]), sys.argv[2], *(int(argument) for argument in sys.argv[3:])))
