"""A DEMONSTRATION OF A BAD START, not a baseline: EfficientNet with the strides of ImageNet on 32x32 images.

The map is down to one pixel before the last stages, the batch leaves few steps in the budget, and the learning rate is
far too low: the loss stays near ln 100 = 4.605, that of guessing. Everything a swarm needs to climb out of it is among
the constants below. `models/efficientnet` is where such a climb should end up.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swarm.harness import augment, clock, data, device, finish

# The network
WIDTH = 1.0  # search: linear(0.25, 1.5)
EXPANSION = 6  # search: int(1, 6)
STEM_STRIDE = 2  # search: {1, 2}
EARLY_STRIDE = 2  # search: {1, 2}
LATE_STRIDE = 2  # search: {1, 2}
HEAD = 1280  # search: int(64, 1280)
ACTIVATION = "silu"  # search: {"relu", "gelu", "silu"}
DROPOUT = 0.2  # search: linear(0, 0.5)

# The optimiser
BATCH_SIZE = 2048  # search: {32, 64, 128, 256, 512, 1024, 2048}
MAX_LR = 1e-3  # search: log(1e-4, 1.0)
MOMENTUM = 0.9  # search: linear(0.8, 0.98)
WEIGHT_DECAY = 1e-4  # search: log(1e-5, 1e-2)
LABEL_SMOOTHING = 0.1  # search: linear(0, 0.2)

# The images
FLIP = True  # search: {True, False}
CROP_PAD = 4  # search: int(0, 6)

CLASSES = 100
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}

# B0 (arXiv 1905.11946, table 1). Each stage: channels, blocks, stride, kernel.
STAGES = (
    (16, 1, 1, 3),
    (24, 2, EARLY_STRIDE, 3),
    (40, 2, 2, 5),
    (80, 3, 2, 3),
    (112, 3, 1, 5),
    (192, 4, LATE_STRIDE, 5),
    (320, 1, 1, 3),
)


class InvertedBottleneck(nn.Module):
    """1x1 up, depthwise, 1x1 down; a residual path where shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, kernel: int) -> None:
        super().__init__()
        hidden = inputs * EXPANSION
        self.branch = nn.Sequential(
            convolution(inputs, hidden, 1),
            ACTIVATIONS[ACTIVATION](),
            convolution(hidden, hidden, kernel, stride, groups=hidden),
            ACTIVATIONS[ACTIVATION](),
            convolution(hidden, outputs, 1),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x) if self.residual else self.branch(x)


class EfficientNet(nn.Module):
    """A stem, the stages, a 1x1 head and a linear classifier."""

    def __init__(self) -> None:
        super().__init__()
        channels = scaled(32)
        layers: list[nn.Module] = [convolution(3, channels, 3, STEM_STRIDE), ACTIVATIONS[ACTIVATION]()]
        for base, blocks, stage_stride, kernel in STAGES:
            for block in range(blocks):
                layers.append(InvertedBottleneck(channels, scaled(base), stage_stride if block == 0 else 1, kernel))
                channels = scaled(base)
        layers += [convolution(channels, HEAD, 1), ACTIVATIONS[ACTIVATION]()]
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(DROPOUT)
        self.classifier = nn.Linear(HEAD, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images).mean(dim=(2, 3))
        return self.classifier(self.dropout(features))


def scaled(channels: int) -> int:
    """WIDTH times `channels`, to a multiple of 8."""
    return max(8, round(channels * WIDTH / 8) * 8)


def convolution(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution that keeps the resolution (up to its stride), and its batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


def build_model() -> nn.Module:
    return EfficientNet()


def build_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=MAX_LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True)


def learning_rate(progress: float) -> float:
    """Linear to zero."""
    return MAX_LR * (1.0 - progress)


def augmentation(images: Tensor) -> Tensor:
    """uint8 images in, uint8 images out: a whole batch on the device."""
    if FLIP:
        images = augment.flip(images)
    return augment.crop(images, CROP_PAD)


def loss_of(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        logits = model(images)
    return F.cross_entropy(logits.float(), labels, label_smoothing=LABEL_SMOOTHING)


def main() -> None:
    train = data.train()
    model = build_model().to(device, memory_format=torch.channels_last)
    optimizer = build_optimizer(model)
    for images, labels in clock.batches(train, BATCH_SIZE, augmentation, state=(model, optimizer)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(clock.progress)
        loss = loss_of(model, images, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        clock.report(loss)
    finish(model)


if __name__ == "__main__":
    main()
