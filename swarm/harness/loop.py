"""The budget clock: batches until the budget is spent, and one number, `progress`, for every schedule."""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from swarm.harness.batches import Augmentation, Source, batches_of, prepared
from swarm.harness.budget import Meter
from swarm.harness.errors import ContractBroken
from swarm.harness.layout import TrainSet
from swarm.harness.losses import Losses
from swarm.harness.optimizers import StepCount
from swarm.harness.text import TextSet
from swarm.harness.warmup import Stateful, warm_up
from swarm.trial.asked import Harness
from swarm.trial.config import WorkBudget
from swarm.trial.heartbeat import Heartbeat

DIVERGED_AT = 3.0  # times the loss of guessing
RUNG_BATCH: dict[Harness, int] = {"images": 500, "text": 64}
RUNG_PRICE = 0.4
"""What an image at a rung may cost, in images trained: a forward pass is about a third of a step. More is charged."""


class Rungs(Protocol):
    """Where the evaluations in the middle of a training come from and go to."""

    fractions: Sequence[float]

    def inputs(self) -> Tensor: ...

    def path(self, fraction: float) -> Path: ...


class BudgetClock:
    """One training's budget. A program reads `progress`, `step`, `epoch` and `indices`, and calls `report(loss)`.

    progress    0.0 at the first step, 1.0 once the budget is spent; make every schedule a function of it
    step        training steps taken; warm-up steps do not count
    epoch       how often the training set has been gone through
    indices     rows of the current batch in the training set; an augmentation sees those of the batch it is given
    own_seed    whether the program was seen to have seeded torch's generator itself
    """

    def __init__(self, budget: WorkBudget, meter: Meter, heartbeat: Heartbeat | None, rungs: Rungs, seed: int) -> None:
        self.step = self.epoch = self.samples = 0
        self.indices = torch.empty(0, dtype=torch.int64)
        self.curve: list[tuple[float, float]] = []
        self.warm_up_s: list[float] = []
        self.loss = math.nan
        self.wall_s = 0.0
        self.rung_s = 0.0
        self.loop_cpu_s = 0.0
        self.optimizer_steps = StepCount()
        self._reseeded = False
        self._shape: tuple[int, ...] = ()
        self._unit = 1.0  # of the reported losses, in nats: a bit for text
        self._budget, self._meter, self._heartbeat, self._rungs, self._seed = budget, meter, heartbeat, rungs, seed
        self._losses = Losses()
        self._trained = _Trained(())
        self._due = sorted(rungs.fractions)
        self._started = False

    @property
    def used(self) -> float:
        """Of the budget, in its unit (images or seconds)."""
        return self._meter.used if self._started else 0.0

    @property
    def own_seed(self) -> bool:
        """What torch says of its default generator, before and after training. A generator of the program's own, and a
        seed that it took back in between, are not seen."""
        self._reseeded = self._reseeded or torch.initial_seed() != self._seed
        return self._reseeded

    @property
    def meter_facts(self) -> dict[str, object]:
        """What the budget's meter says about its own measuring."""
        return self._meter.facts

    @property
    def progress(self) -> float:
        return min(1.0, self.used / self._budget.amount)

    def batches(
        self,
        train: TrainSet | TextSet,
        batch_size: int,
        augmentation: Augmentation | None = None,
        *,
        state: Sequence[Stateful] = (),
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields normalised images float32 [batch_size, 3, 32, 32] and labels int64 until the budget is spent; of text
        windows of bytes and the byte after each of them, both int64 [batch_size, window].

        `augmentation` maps uint8 images to uint8 images. `state` is what the steps change: the model first, then the
        optimiser and, if there are any, averages and scalers. With it the harness runs a few warm-up steps, puts the
        state back and only then starts the clock; the first module in it is what the rungs evaluate. Counters of your
        own are not put back: use `clock.step`. May be called once. Raises ContractBroken, Diverged.
        """
        if self._started:
            raise ContractBroken("clock.batches was called twice: one training has one budget")
        source = batches_of(train, batch_size, augmentation, self._seed)
        self._reseeded = self.own_seed  # the warm-up sets the seed again
        self._shape = source.shape
        self._unit = math.log(2) if isinstance(train, TextSet) else 1.0
        self._trained = _Trained(state)
        self._losses = Losses.on(source.device)
        self.optimizer_steps.on_clock = True
        yield from self._warm_up(source, state)
        self._begin(source.device, train.classes)
        while self.progress < 1.0:
            self.epoch, self.indices = source.next_rows()
            self._meter.before_step(self._trained.signature(self._shape))
            yield self._load(source)
            self._meter.after_step(batch_size)
            self._after_step(batch_size, state)
        self.optimizer_steps.on_clock = False
        self._losses.flush()  # on a GPU it waits for the last step
        self.wall_s += time.monotonic()
        self.loop_cpu_s += time.process_time()
        self._note_loss()

    def report(self, loss: Tensor) -> None:
        """The mean training loss of this step in nats: for the live view, the curve and the divergence check."""
        self._losses.add(self.progress, loss if self._unit == 1.0 else loss / self._unit)

    def _warm_up(self, source: Source, state: Sequence[Stateful]) -> Iterator[tuple[Tensor, Tensor]]:
        if state:
            self.indices = source.first_rows()
            for batch in warm_up(lambda: self._load(source), state, source.device, self._seed, self.warm_up_s):
                self._beat()
                self._meter.park()
                yield batch

    def _load(self, source: Source) -> tuple[Tensor, Tensor]:
        """Loading is part of the step, so the meter knows the shape of the last batch when the next step begins."""
        inputs, targets = source.load(self.indices)
        self._shape = tuple(inputs.shape)
        return inputs, targets

    def _begin(self, device: torch.device, classes: int) -> None:
        self._losses = Losses.on(device, DIVERGED_AT * math.log(classes) / self._unit)
        self._meter.start()
        self.wall_s = -time.monotonic()
        self.loop_cpu_s = -time.process_time()
        self._started = True
        self._beat()

    def _after_step(self, images: int, state: Sequence[Stateful]) -> None:
        self.step += 1
        self.samples += images
        self._note_loss()
        self._beat()
        while self._due and self.progress >= self._due[0]:
            self._evaluate(self._due.pop(0), state)

    def _beat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.beat(self.step, self.progress, self.loss, self.used)

    def _note_loss(self) -> None:
        self.loss = self._losses.last
        self.curve = self._losses.curve

    def _evaluate(self, fraction: float, state: Sequence[Stateful]) -> None:
        """Logits of the rung's rows, float16, beside the weights. Free of charge as far as it costs no more than that
        many forward passes would."""
        model = next((part for part in state if isinstance(part, nn.Module)), None)
        if model is None:
            return
        self._meter.pause()
        self.optimizer_steps.on_clock = False
        began = time.monotonic()
        inputs = self._rungs.inputs()
        text = inputs.ndim == 2
        logits = forward(model, inputs, RUNG_BATCH["text" if text else "images"])
        if text and logits.ndim == 3:
            logits = logits[:, -1]  # the one whose target is not shown
        path = self._rungs.path(fraction)
        with path.with_suffix(".tmp").open("wb") as file:
            np.save(file, logits.half().numpy())
        path.with_suffix(".tmp").replace(path)
        self.optimizer_steps.on_clock = True
        self.rung_s += time.monotonic() - began
        self._meter.resume(RUNG_PRICE * len(logits) * self._meter.used / max(1, self.samples))


def forward(
    model: nn.Module, inputs: Tensor, batch_size: int, before_batch: Callable[[], None] = lambda: None
) -> Tensor:
    """Logits float32 [n, classes] on the CPU, in evaluation mode; mode and random state are left as they were. Of
    windows of text, uint8 [n, t], the logits are [n, t, 256].

    What was compiled runs as it was written, and cuDNN takes the first algorithm instead of trying all: an evaluation
    is over before either pays, a compilation would be charged, and the tried workspaces would be in the peak.
    """
    device = inputs.device
    training = model.training
    model.eval()
    random_state = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with random_state, torch.inference_mode(), _uncompiled(), _first_algorithm():
        parts: list[Tensor] = []
        for batch in inputs.split(batch_size):
            before_batch()
            parts.append(model(prepared(batch)).float().cpu())
    model.train(training)
    return torch.cat(parts)


def _uncompiled() -> AbstractContextManager[object]:
    """Without Dynamo in the process nothing can have been compiled, and importing it takes a second."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


@contextmanager
def _first_algorithm() -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


class _Trained:
    """What the steps change. Walking through a model's parameters takes longer than all else that the harness does in a
    step, so that it is done every LOOK_EVERY steps; what is frozen or thawed meanwhile is seen at once."""

    LOOK_EVERY = 50

    def __init__(self, state: Sequence[Stateful]) -> None:
        self._state = state
        self._parameters: list[nn.Parameter] = []
        self._looks = 0

    def signature(self, shape: tuple[int, ...]) -> tuple[Any, ...]:
        """Steps with equal signatures cost the same alone: shape of the batch and the mask of what trains."""
        if self._looks % self.LOOK_EVERY == 0:
            modules = (part for part in self._state if isinstance(part, nn.Module))
            self._parameters = [parameter for module in modules for parameter in module.parameters()]
        self._looks += 1
        return shape, bytes(parameter.requires_grad for parameter in self._parameters)
