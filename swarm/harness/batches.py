"""Batches for a training: of images, shuffled epochs; of text, windows from anywhere."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from swarm.harness.augment import normalise
from swarm.harness.errors import ContractBroken
from swarm.harness.layout import TrainSet
from swarm.harness.text import TextSet

Augmentation = Callable[[Tensor], Tensor]


class Source(Protocol):
    """Where batches come from. `shape`: of what a batch begins as, before any augmentation."""

    @property
    def device(self) -> torch.device: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def first_rows(self) -> Tensor:
        """Rows for warming up: always the same ones, and none is used up."""

    def next_rows(self) -> tuple[int, Tensor]:
        """(epoch, rows) of the next batch."""

    def load(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets."""


def batches_of(train: TrainSet | TextSet, batch_size: int, augmentation: Augmentation | None, seed: int) -> Source:
    """Raises ContractBroken for a batch that is larger than the data, and for text that is to be augmented."""
    if not 1 <= batch_size <= len(train):
        kind = "images" if isinstance(train, TrainSet) else "windows"
        raise ContractBroken(f"batch size {batch_size} is outside 1..{len(train)}, the {kind} there are")
    if isinstance(train, TrainSet):
        return Batches(train, batch_size, augmentation, seed)
    if augmentation is not None:
        raise ContractBroken("clock.batches was given an augmentation, which is for images: text has none")
    return TextBatches(train, batch_size, seed)


class Batches:
    """Shuffled epochs without replacement; an incomplete last batch is left out, so every step has one shape."""

    def __init__(self, train: TrainSet, batch_size: int, augmentation: Augmentation | None, seed: int) -> None:
        self.device = train.images.device
        self.shape = (batch_size, *train.images.shape[1:])
        self._train, self._size, self._augmentation = train, batch_size, augmentation
        self._generator = torch.Generator().manual_seed(seed)
        self._epoch, self._at, self._order = -1, len(train), torch.empty(0, dtype=torch.int64)

    def first_rows(self) -> Tensor:
        return torch.arange(self._size, device=self.device)

    def next_rows(self) -> tuple[int, Tensor]:
        if self._at + self._size > len(self._train):
            self._order = _sent(torch.randperm(len(self._train), generator=self._generator), self.device)
            self._epoch, self._at = self._epoch + 1, 0
        rows = self._order[self._at : self._at + self._size]
        self._at += self._size
        return self._epoch, rows

    def load(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        images = self._train.images[rows]
        if self._augmentation is not None:
            images = self._augmentation(images)
        return _arranged(normalise(images)), self._train.labels[rows]


class TextBatches:
    """Windows that begin anywhere in the text, and for each place the byte that follows. A row is where one begins."""

    def __init__(self, train: TextSet, batch_size: int, seed: int) -> None:
        self.device = train.text.device
        self.shape = (batch_size, train.window)
        self._train, self._size = train, batch_size
        self._starts = len(train.text) - train.window  # the last window still has a byte after it
        self._reach = torch.arange(train.window + 1, device=self.device)
        self._generator = torch.Generator().manual_seed(seed)
        self._drawn = 0

    def first_rows(self) -> Tensor:
        return torch.arange(self._size, device=self.device)

    def next_rows(self) -> tuple[int, Tensor]:
        epoch = self._drawn // len(self._train)
        self._drawn += self._size
        return epoch, _sent(torch.randint(self._starts, (self._size,), generator=self._generator), self.device)

    def load(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        windows = self._train.text[rows[:, None] + self._reach].long()
        return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


def prepared(rows: Tensor) -> Tensor:
    """Rows as a model gets them: uint8 images [n, 3, 32, 32] normalised and channels last, windows uint8 [n, t] as
    int64."""
    return rows.long() if rows.ndim == 2 else _arranged(normalise(rows))


def _arranged(images: Tensor) -> Tensor:
    """Channels last: what convolutions are fast on, on CPUs as on GPUs."""
    return images.contiguous(memory_format=torch.channels_last)


def _sent(rows: Tensor, device: torch.device) -> Tensor:
    """On a GPU from pinned memory, so that an epoch begins without a wait for the last one."""
    return rows.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else rows
