"""A small ResNeXt for 32x32 images, trained with Nesterov SGD for a fixed budget.

Left for you to try: cardinality against width, activation, label smoothing, averaging of weights, cutout and cutmix,
alternating flip, another optimiser, the shape of the schedule, zero-initialised residual branches, squeeze-excitation,
stochastic depth. What counts is the cross-entropy on images that this program never sees.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swarm.harness import augment, clock, compiled, data, device, finish

# The network
WIDTH = 64  # search: {8, 16, 24, 32, 48, 64, 96, 128}
BLOCKS = 3  # search: int(1, 4)
CARDINALITY = 4  # search: {1, 2, 4, 8}
EXPANSION = 2  # search: {1, 2, 4}
STEM_STRIDE = 1  # search: {1, 2}
ACTIVATION = "relu"  # search: {"relu", "gelu", "silu"}
DROPOUT = 0.0  # search: linear(0, 0.3)

# The optimiser
BATCH_SIZE = 512  # search: {32, 64, 128, 256, 512, 1024}
MAX_LR = 0.2  # search: log(1e-2, 3.0)
MOMENTUM = 0.9  # search: linear(0.8, 0.98)
WEIGHT_DECAY = 5e-4  # search: log(1e-5, 1e-2)
WARM_UP = 0.1  # search: linear(0, 0.4)
LABEL_SMOOTHING = 0.0  # search: linear(0, 0.2)

# The images
FLIP = True  # search: {True, False}
CROP_PAD = 4  # search: int(0, 6)
CUTOUT = 0  # search: int(0, 16)

COMPILE = True  # on a GPU; what cannot be compiled trains as it is
CLASSES = 100
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


class Bottleneck(nn.Module):
    """1x1 down, grouped 3x3, 1x1 up, with a residual path around them."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.reduce = convolution(inputs, width, 1)
        self.grouped = convolution(width, width, 3, stride, groups=CARDINALITY)
        self.expand = convolution(width, outputs, 1)
        self.activation = ACTIVATIONS[ACTIVATION]()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = convolution(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.reduce(x))
        y = self.activation(self.grouped(y))
        return self.activation(self.expand(y) + self.shortcut(x))


class ResNeXt(nn.Module):
    """A stem, three stages that halve the resolution and double the width, and a linear classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(3, WIDTH, 3, STEM_STRIDE), ACTIVATIONS[ACTIVATION]())
        blocks, inputs = [], WIDTH
        for stage in range(3):
            width = WIDTH * 2**stage
            for block in range(BLOCKS):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(Bottleneck(inputs, width, stride))
                inputs = width * EXPANSION
        self.stages = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(DROPOUT)
        self.classifier = nn.Linear(inputs, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        features = self.stages(self.stem(images)).mean(dim=(2, 3))
        return self.classifier(self.dropout(features))


def convolution(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution that keeps the resolution (up to its stride), and its batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


def build_model() -> nn.Module:
    model = ResNeXt()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def build_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Weight decay on weights only: normalisation and biases are left alone."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=MAX_LR, momentum=MOMENTUM, nesterov=True, fused=True)


def learning_rate(progress: float) -> float:
    """Linear up to MAX_LR during WARM_UP, then linear to zero."""
    if progress < WARM_UP:
        return MAX_LR * progress / WARM_UP
    return MAX_LR * (1.0 - progress) / (1.0 - WARM_UP)


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
