"""The program behind the replay table: a small ResNeXt for the stand-in, trained for about a second and a half.

Its seven constants are levels of a complete grid, so that each setting a search can propose has been trained. `BUDGET`
is work: a setting whose step costs twice as much gets half of the images (`images_for`), by costs measured once.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swarm.harness import augment, clock, data, device, finish

RATE_STEP = 1  # search: int(0, 5)
WIDTH_STEP = 1  # search: int(0, 2)
BATCH_STEP = 2  # search: int(0, 2)
SMOOTHING = 0.1  # search: {0.0, 0.1}
SHIFT_CROP = False  # search: {True, False}
DECAY_TO_ZERO = False  # search: {True, False}
ACTIVATION = "relu"  # search: {"relu", "silu"}

CLASSES = 100
GROUPS = 4
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
WARM_UP = 0.1


class Block(nn.Module):
    """A ResNeXt bottleneck: 1x1, grouped 3x3, 1x1, each with batch normalisation, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        inner = outputs // 2
        self.reduce = nn.Conv2d(inputs, inner, 1, bias=False)
        self.grouped = nn.Conv2d(inner, inner, 3, stride, 1, groups=GROUPS, bias=False)
        self.expand = nn.Conv2d(inner, outputs, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(inner), nn.BatchNorm2d(inner), nn.BatchNorm2d(outputs)])
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.norms[0](self.reduce(x)))
        y = self.activation(self.norms[1](self.grouped(y)))
        return self.activation(self.norms[2](self.expand(y)) + self.shortcut(x))


def build_model(width_step: int = WIDTH_STEP, activation: str = ACTIVATION) -> nn.Module:
    width = 16 * 2**width_step
    act = F.silu if activation == "silu" else F.relu
    return nn.Sequential(
        nn.Conv2d(3, width, 4, 4, bias=False),
        nn.BatchNorm2d(width),
        Block(width, 2 * width, 1, act),
        Block(2 * width, 4 * width, 2, act),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, CLASSES),
    )


def batch_size(batch_step: int = BATCH_STEP) -> int:
    return 64 * 2**batch_step


def rate_at(progress: float, rate_step: int = RATE_STEP, decay_to_zero: bool = DECAY_TO_ZERO) -> float:
    """Linear warm-up, then constant or linear to zero."""
    peak = 0.01 * 2.5**rate_step
    warmed = min(1.0, (progress + 1e-3) / WARM_UP)
    return peak * warmed * ((1 - progress) / (1 - WARM_UP) if decay_to_zero and progress > WARM_UP else 1.0)


def augmentation(images: Tensor) -> Tensor:
    images = augment.flip(images)
    return augment.crop(images, 4) if SHIFT_CROP else images


def main() -> None:
    model = build_model().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)
    for images, labels in clock.batches(data.train(), batch_size(), augmentation):
        optimizer.param_groups[0]["lr"] = rate_at(clock.progress)
        loss = F.cross_entropy(model(images), labels, label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        clock.report(loss)
    finish(model)
