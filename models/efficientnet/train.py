"""A small EfficientNet for 32x32 images (B0's shape, a stride-1 stem), trained with AdamW for a fixed budget.

Left for you to try: fused blocks in the early stages, expansion, 3x3 kernels instead of 5x5, the width of the head,
squeeze-excitation only where it pays, stochastic depth, averaging of weights, another optimiser, cutout and cutmix,
training on smaller images first. What counts is the cross-entropy on images that this program never sees.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swarm.harness import augment, clock, compiled, data, device, finish

# The network
WIDTH = 1.0  # search: linear(0.25, 1.5)
DEPTH = 1.0  # search: linear(0.25, 1.5)
EXPANSION = 6  # search: int(1, 6)
STEM_STRIDE = 1  # search: {1, 2}
LARGE_KERNEL = 5  # search: {3, 5}
SQUEEZE = 0.25  # search: linear(0, 0.5)
HEAD = 640  # search: int(64, 1280)
ACTIVATION = "silu"  # search: {"relu", "gelu", "silu"}
DROPOUT = 0.2  # search: linear(0, 0.5)

# The optimiser
BATCH_SIZE = 512  # search: {32, 64, 128, 256, 512, 1024}
MAX_LR = 2e-3  # search: log(2e-4, 3e-2)
WEIGHT_DECAY = 0.05  # search: log(1e-3, 0.3)
BETA2 = 0.999  # search: {0.9, 0.95, 0.98, 0.99, 0.999}
WARM_UP = 0.1  # search: linear(0, 0.4)
LABEL_SMOOTHING = 0.0  # search: linear(0, 0.2)

# The images
FLIP = True  # search: {True, False}
CROP_PAD = 4  # search: int(0, 6)
CUTOUT = 0  # search: int(0, 16)

COMPILE = True  # on a GPU; what cannot be compiled trains as it is
CLASSES = 100
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}

# B0 (arXiv 1905.11946, table 1) with strides for 32x32: a total stride of 8 leaves a 4x4 map.
# Each stage: channels, blocks, stride, large kernel?, expanded?
STAGES = (
    (16, 1, 1, False, False),
    (24, 2, 1, False, True),
    (40, 2, 2, True, True),
    (80, 3, 2, False, True),
    (112, 3, 1, True, True),
    (192, 4, 2, True, True),
    (320, 1, 1, False, True),
)


class SqueezeExcitation(nn.Module):
    """Scales each channel by what the whole map says about it."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.down = nn.Linear(channels, squeezed)
        self.up = nn.Linear(squeezed, channels)
        self.activation = ACTIVATIONS[ACTIVATION]()

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.sigmoid(self.up(self.activation(self.down(x.mean(dim=(2, 3))))))
        return x * scale[:, :, None, None]


class InvertedBottleneck(nn.Module):
    """1x1 up, depthwise, squeeze-excitation, 1x1 down; a residual path where shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, kernel: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [convolution(inputs, hidden, 1), ACTIVATIONS[ACTIVATION]()]
        layers += [convolution(hidden, hidden, kernel, stride, groups=hidden), ACTIVATIONS[ACTIVATION]()]
        if SQUEEZE > 0:
            layers.append(SqueezeExcitation(hidden, max(4, round(inputs * SQUEEZE))))
        layers.append(convolution(hidden, outputs, 1))
        self.branch = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x) if self.residual else self.branch(x)


class EfficientNet(nn.Module):
    """A stem, the stages of STAGES scaled by WIDTH and DEPTH, a 1x1 head and a linear classifier."""

    def __init__(self) -> None:
        super().__init__()
        channels = scaled(32)
        layers: list[nn.Module] = [convolution(3, channels, 3, STEM_STRIDE), ACTIVATIONS[ACTIVATION]()]
        for base, depth, stage_stride, large, expanded in STAGES:
            outputs, kernel = scaled(base), LARGE_KERNEL if large else 3
            for block in range(math.ceil(depth * DEPTH)):
                stride = stage_stride if block == 0 else 1
                expansion = EXPANSION if expanded else 1
                layers.append(InvertedBottleneck(channels, outputs, stride, kernel, expansion))
                channels = outputs
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
    model = EfficientNet()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def build_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Weight decay on weights only: normalisation and biases are left alone."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=MAX_LR, betas=(0.9, BETA2), fused=True)


def learning_rate(progress: float) -> float:
    """Linear up to MAX_LR during WARM_UP, then half a cosine to zero."""
    if progress < WARM_UP:
        return MAX_LR * progress / WARM_UP
    return MAX_LR * 0.5 * (1.0 + math.cos(math.pi * (progress - WARM_UP) / (1.0 - WARM_UP)))


def augmentation(images: Tensor) -> Tensor:
    """uint8 images in, uint8 images out: a whole batch on the device."""
    if FLIP:
        images = augment.flip(images)
    images = augment.crop(images, CROP_PAD)
    return augment.cutout(images, CUTOUT)


def loss_of(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        logits = model(images)
    return F.cross_entropy(logits.float(), labels, label_smoothing=LABEL_SMOOTHING)


def main() -> None:
    train = data.train()
    model = build_model().to(device, memory_format=torch.channels_last)
    optimizer = build_optimizer(model)
    network = compiled(model) if COMPILE else model
    for images, labels in clock.batches(train, BATCH_SIZE, augmentation, state=(model, optimizer)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(clock.progress)
        loss = loss_of(network, images, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        clock.report(loss)
    finish(model)


if __name__ == "__main__":
    main()
