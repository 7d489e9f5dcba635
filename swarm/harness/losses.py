"""The losses that a program reports: their curve, their mean, and when to give up.

On a GPU nothing here waits for the device. A loss is copied at once, because under CUDA graphs it is a view of a buffer
that the next step overwrites; twenty copies travel to the host together, and are read when they have arrived. Only if
three such groups are on their way is the oldest waited for.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from swarm.harness.errors import Diverged

CURVE_POINTS = 50
DIVERGED_AFTER_STEPS = 20
GROUP_STEPS = 20  # on a GPU
MOST_GROUPS = 3


class Arriving(Protocol):
    """Numbers on their way from the device to the host."""

    def here(self) -> bool: ...

    def values(self) -> list[float]:
        """Waits for them if it must."""


class _Here:
    """Numbers on a CPU."""

    def __init__(self, values: Tensor) -> None:
        self._values = values

    def here(self) -> bool:
        return True

    def values(self) -> list[float]:
        return self._values.tolist()


class _FromGpu:
    """A copy into pinned memory, and the event that comes after it."""

    def __init__(self, values: Tensor) -> None:
        self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        self._host.copy_(values, non_blocking=True)
        self._event = torch.cuda.Event()
        self._event.record()

    def here(self) -> bool:
        return bool(self._event.query())

    def values(self) -> list[float]:
        self._event.synchronize()
        return self._host.tolist()


class Losses:
    """`curve`: (progress, mean loss) of each fiftieth of the budget; `last`: the mean of the last twenty read."""

    def __init__(self, limit: float = math.inf, *, group: int = 1, send: Callable[[Tensor], Arriving] = _Here) -> None:
        """`limit`: a mean above it is a divergence. `group` losses travel together, by `send`."""
        self.last = math.nan
        self.curve: list[tuple[float, float]] = []
        self._limit, self._group, self._send = limit, group, send
        self._waiting: list[tuple[float, Tensor]] = []
        self._sent: deque[tuple[list[float], Arriving]] = deque()
        self._recent: deque[float] = deque(maxlen=DIVERGED_AFTER_STEPS)
        self._bucket: list[tuple[float, float]] = []

    @classmethod
    def on(cls, device: torch.device, limit: float = math.inf) -> "Losses":
        if device.type == "cpu":
            return cls(limit)
        return cls(limit, group=GROUP_STEPS, send=_FromGpu)

    def add(self, progress: float, loss: Tensor) -> None:
        """Raises Diverged, for this loss or an earlier one."""
        self._waiting.append((progress, loss.detach().clone()))
        if len(self._waiting) >= self._group:
            self._send_all()
        while self._sent and (len(self._sent) > MOST_GROUPS or self._sent[0][1].here()):
            self._read()

    def flush(self) -> None:
        """The end of training: whatever waits is read, and the last point of the curve is made."""
        self._send_all()
        while self._sent:
            self._read()
        self._close_bucket()

    def _send_all(self) -> None:
        if self._waiting:
            values = torch.stack([loss for _, loss in self._waiting]).float()
            self._sent.append(([progress for progress, _ in self._waiting], self._send(values)))
            self._waiting.clear()

    def _read(self) -> None:
        progresses, arriving = self._sent.popleft()
        for progress, value in zip(progresses, arriving.values(), strict=True):
            self._check(value)
            if self._bucket and int(progress * CURVE_POINTS) != int(self._bucket[-1][0] * CURVE_POINTS):
                self._close_bucket()
            self._bucket.append((progress, value))
        self.last = sum(self._recent) / len(self._recent)

    def _check(self, value: float) -> None:
        if not math.isfinite(value):
            raise Diverged(f"the training loss is {value}: lower the learning rate or clip the gradient")
        self._recent.append(value)
        mean = sum(self._recent) / len(self._recent)
        if len(self._recent) == DIVERGED_AFTER_STEPS and mean > self._limit:
            raise Diverged(f"mean training loss {mean:.3f} over {DIVERGED_AFTER_STEPS} steps, limit {self._limit:.3f}")

    def _close_bucket(self) -> None:
        if self._bucket:
            progress, values = zip(*self._bucket, strict=True)
            self.curve.append((round(progress[-1], 4), round(sum(values) / len(values), 5)))
            self._bucket.clear()
