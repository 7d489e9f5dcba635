"""Warm-up outside the clock: real steps of the program's own loop, then everything is put back."""

import copy
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

WARM_UP_STEPS = {"cpu": 2, "cuda": 10}


@runtime_checkable
class Stateful(Protocol):
    """A module, an optimiser, an average of weights, a gradient scaler."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


def warm_up(
    load: Callable[[], tuple[Tensor, Tensor]],
    state: Sequence[Stateful],
    device: torch.device,
    seed: int,
    step_s: list[float],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields a few batches, then restores `state` and the random generators; appends each step's seconds to `step_s`.

    The first step is where compilation and the choice of kernels happen.
    """
    saved = [copy.deepcopy(part.state_dict()) for part in state]
    for _ in range(WARM_UP_STEPS[device.type]):
        began = time.monotonic()
        yield load()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        step_s.append(time.monotonic() - began)
    for part, content in zip(state, saved, strict=True):
        part.load_state_dict(content)
        if isinstance(part, nn.Module):
            part.zero_grad(set_to_none=True)
    seed_everything(seed)


def seed_everything(seed: int) -> None:
    """Every generator that a program may draw from. Two runs with one seed are equal on the CPU with one thread."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
