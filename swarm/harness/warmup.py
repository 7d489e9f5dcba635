"""Warm-up outside the clock: real steps of the program's own loop, then everything is put back.

Put back in place: a step that was captured as a CUDA graph reads and writes the tensors that it was captured with, so
that parameters, gradients, buffers and the state of optimisers keep their memory and get their former contents.
"""

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
        put_back(part, content)
    seed_everything(seed)
    if device.type == "cuda":
        forget_peaks(device)


def put_back(part: Stateful, content: dict[str, Any]) -> None:
    """`part` as it was when its `state_dict()` was `content`."""
    if isinstance(part, torch.optim.Optimizer):
        _put_back_optimizer(part, content)
        return
    part.load_state_dict(content)
    if isinstance(part, nn.Module):
        part.zero_grad(set_to_none=False)


def _put_back_optimizer(optimizer: torch.optim.Optimizer, content: dict[str, Any]) -> None:
    """What the warm-up has made anew is emptied where a first step finds the same in zeros as in nothing; elsewhere it
    is dropped, and made by the next step as a fresh optimiser would make it."""
    used, groups = dict(optimizer.state), list(optimizer.param_groups)
    optimizer.load_state_dict(content)
    for group, before in zip(optimizer.param_groups, groups, strict=True):
        group |= {name: _in_place(before.get(name), value) for name, value in group.items() if name != "params"}
    for parameter, entries in used.items():
        former = optimizer.state.get(parameter, {})
        kept = {name: _in_place(entry, former[name]) for name, entry in entries.items() if name in former}
        if not former and _begins_with_zeros(optimizer):
            kept = {name: entry.zero_() for name, entry in entries.items() if isinstance(entry, Tensor)}
        if kept:
            optimizer.state[parameter] = kept


def _begins_with_zeros(optimizer: torch.optim.Optimizer) -> bool:
    """Adam by its definition; SGD because a momentum of zero times its factor, plus the gradient, is the gradient."""
    if type(optimizer) is torch.optim.SGD:
        return not any(group["dampening"] for group in optimizer.param_groups)
    return type(optimizer) in (torch.optim.Adam, torch.optim.AdamW)


def _in_place(kept: Any, former: Any) -> Any:
    """The tensor `kept` with the content of `former`; `former` itself where that cannot be."""
    if isinstance(kept, Tensor) and isinstance(former, Tensor) and kept.shape == former.shape:
        return kept.copy_(former)
    return former


def forget_peaks(device: torch.device) -> None:
    """What was taken while compiling and while algorithms were tried is no part of what training takes."""
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    torch.cuda.reset_accumulated_memory_stats(device)


def seed_everything(seed: int) -> None:
    """Every generator that a program may draw from. Two runs with one seed are equal on the CPU with one thread."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
