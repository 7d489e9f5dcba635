"""CUDA's libraries, loaded before a candidate's code begins: seconds that are nobody's set-up.

The first convolution of a process loads cuDNN, the first matrix product cuBLAS, the first optimiser torch._dynamo. On
an H200 that is most of the first step, whatever the program (docs/benchmarks.md). What a program's own shapes need
beside that is its set-up, as before.
"""

import importlib

import torch
from torch import nn

from swarm.harness.warmup import forget_peaks

IMAGES, CHANNELS, SIZE = 16, 32, 16
GROUPS = (1, 4, CHANNELS)  # dense, grouped and depthwise convolutions have libraries of their own


def load_libraries(device: torch.device) -> None:
    """Small steps of the kinds that the targets take, in both precisions; nothing of them is left but the libraries.
    Draws no random number. On a CPU nothing is to be loaded."""
    if device.type == "cpu":
        return
    importlib.import_module("torch._dynamo")
    for precision in (torch.float32, torch.bfloat16):
        for groups in GROUPS:
            _step(device, precision, groups)
    forget_peaks(device)


def _step(device: torch.device, precision: torch.dtype, groups: int) -> None:
    convolution = nn.utils.skip_init(nn.Conv2d, CHANNELS, CHANNELS, 3, padding=1, groups=groups, device=device)
    norm, linear = nn.BatchNorm2d(CHANNELS, device=device), nn.utils.skip_init(nn.Linear, CHANNELS, 10, device=device)
    model = nn.Sequential(convolution, norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
    model.to(memory_format=torch.channels_last)
    images = torch.zeros(IMAGES, CHANNELS, SIZE, SIZE, device=device).contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision is torch.bfloat16):
        logits = model(images)
    labels = torch.zeros(IMAGES, dtype=torch.int64, device=device)
    nn.functional.cross_entropy(logits.float(), labels).backward()
