"""Forty bytes that say how a training is doing: rewritten in place at each step, read by whoever watches."""

import math
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from swarm.trial.files import Unreadable, read_plain

_FORMAT = struct.Struct("<dQddd")


@dataclass(frozen=True)
class Beat:
    """`at_s` is CLOCK_MONOTONIC; `progress` in [0, 1]; `used` in the budget's unit. The candidate could write it."""

    at_s: float
    step: int
    progress: float
    loss: float
    used: float


class Heartbeat:
    """Writes a Beat to `path` with one `pwrite`, about a microsecond."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.beat(0, 0.0, math.nan, 0.0)

    def beat(self, step: int, progress: float, loss: float, used: float) -> None:
        os.pwrite(self._descriptor, _FORMAT.pack(time.monotonic(), step, progress, loss, used), 0)


def read_beat(path: Path) -> Beat | None:
    """The last beat; None before the first one, and for anything else that lies there."""
    try:
        return Beat(*_FORMAT.unpack(read_plain(path, _FORMAT.size)))
    except (Unreadable, struct.error):
        return None
