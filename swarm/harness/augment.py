"""Augmentations as tensor operations: a whole batch at once, on its device, in about one pass over the pixels.

`flip`, `alternating_flip`, `crop` and `cutout` take and return uint8 images [n, 3, h, w]: compose them in a function
and hand it to `clock.batches`. `mixup` and `cutmix` take what `clock.batches` yields (normalised images and integer
labels) and return soft labels [n, classes], which `torch.nn.functional.cross_entropy` accepts as they are.

Random numbers come from torch's global generator, which the harness seeds.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

GREY = 128


def flip(images: Tensor) -> Tensor:
    """Mirrors each image left to right with probability one half."""
    chosen = torch.rand(len(images), device=images.device) < 0.5
    return _mirrored(images, chosen)


def alternating_flip(images: Tensor, indices: Tensor, epoch: int) -> Tensor:
    """Mirrors a fixed random half in even epochs and the other half in odd ones (arXiv 2404.00498, section 3).

    `indices` are the images' rows in the training set: `clock.indices`; `epoch` is `clock.epoch`.
    """
    bit = ((indices * 2_654_435_761) >> 16) & 1  # Knuth's multiplicative hash
    chosen = bit == (epoch & 1)
    return _mirrored(images, chosen)


def crop(images: Tensor, pad: int) -> Tensor:
    """Shifts each image by up to `pad` pixels in both directions; the border is filled by reflection."""
    if pad == 0:
        return images
    count, _, height, width = images.shape
    padded = F.pad(images, (pad, pad, pad, pad), mode="reflect")
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    top, left = torch.randint(0, 2 * pad + 1, (2, count), device=images.device)
    return windows[torch.arange(count, device=images.device), :, top, left]


def cutout(images: Tensor, size: int) -> Tensor:
    """Greys a square of `size` pixels, anywhere, partly outside at the edges (arXiv 1708.04552)."""
    if size == 0:
        return images
    count, _, height, width = images.shape
    rows = _inside(count, height, size, images.device)[:, :, None]
    columns = _inside(count, width, size, images.device)[:, None, :]
    return images.masked_fill((rows & columns)[:, None], GREY)


def mixup(images: Tensor, labels: Tensor, alpha: float, classes: int) -> tuple[Tensor, Tensor]:
    """Blends each image with another of the batch, one Beta(alpha, alpha) share a batch (arXiv 1710.09412)."""
    share = _beta(alpha)
    partner = torch.randperm(len(images), device=images.device)
    return torch.lerp(images[partner], images, share), _soft(labels, partner, share, classes)


def cutmix(images: Tensor, labels: Tensor, alpha: float, classes: int) -> tuple[Tensor, Tensor]:
    """Pastes a box of another image of the batch, one box a batch (arXiv 1905.04899)."""
    height, width = images.shape[2:]
    side = (1.0 - _beta(alpha)) ** 0.5
    partner = torch.randperm(len(images), device=images.device)
    row, column = (int(torch.randint(0, extent, ())) for extent in (height, width))
    top, bottom = (min(max(row + int(sign * side * height / 2), 0), height) for sign in (-1, 1))
    left, right = (min(max(column + int(sign * side * width / 2), 0), width) for sign in (-1, 1))
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    share = 1.0 - (bottom - top) * (right - left) / (height * width)
    return mixed, _soft(labels, partner, share, classes)


def normalise(images: Tensor) -> Tensor:
    """uint8 -> float32 in [-2, 2). Fixed constants, so that prediction needs no statistics of the training set."""
    return images.float().mul_(1 / 64).sub_(2.0)


def _mirrored(images: Tensor, chosen: Tensor) -> Tensor:
    """Mirrors the images where `chosen` is true, in one pass (half the time of `flip` and `where` on a CPU)."""
    columns = torch.arange(images.shape[3], device=images.device)
    source = torch.where(chosen[:, None], columns.flip(0), columns)
    return images.gather(3, source[:, None, None, :].expand(-1, *images.shape[1:3], -1))


def _inside(count: int, extent: int, size: int, device: torch.device) -> Tensor:
    """bool [count, extent]: the positions within `size` pixels around a random centre."""
    first = torch.randint(0, extent, (count, 1), device=device) - size // 2
    position = torch.arange(extent, device=device)
    return (position >= first) & (position < first + size)


def _beta(alpha: float) -> float:
    return float(torch.distributions.Beta(alpha, alpha).sample())


def _soft(labels: Tensor, partner: Tensor, share: float, classes: int) -> Tensor:
    own = F.one_hot(labels, classes).float()
    return torch.lerp(own[partner], own, share)
