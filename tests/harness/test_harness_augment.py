"""Augmentations: each image gets its own draw, and what comes out is what the name says."""

import pytest
import torch
from torch import Tensor

from swarm.harness import augment


@pytest.fixture(autouse=True)
def one_thread_and_seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(4)


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8)


def test_flip_mirrors_about_half(images: Tensor) -> None:
    flipped = augment.flip(images)
    mirrored = [torch.equal(after, before.flip(2)) for after, before in zip(flipped, images, strict=True)]
    same = [torch.equal(after, before) for after, before in zip(flipped, images, strict=True)]
    assert [a ^ b for a, b in zip(mirrored, same, strict=True)] == [True] * 64
    assert 16 < sum(mirrored) < 48


def test_alternating_flip_shows_both_sides_in_any_two_epochs(images: Tensor) -> None:
    indices = torch.arange(64) * 37
    even, odd, later = (augment.alternating_flip(images, indices, epoch) for epoch in (0, 1, 2))
    assert torch.equal(even, later)
    assert torch.equal(even, odd.flip(3))
    assert 16 < sum(torch.equal(a, b) for a, b in zip(even, images, strict=True)) < 48


def test_crop_shifts_each_image_and_reflects_the_border(images: Tensor) -> None:
    pad = 4
    cropped = augment.crop(images, pad)
    assert (cropped.shape, cropped.dtype) == (images.shape, torch.uint8)
    shifts = set()
    for before, after in zip(images, cropped, strict=True):
        padded = torch.nn.functional.pad(before[None].float(), (pad,) * 4, mode="reflect")[0].byte()
        found = [
            (top, left)
            for top in range(2 * pad + 1)
            for left in range(2 * pad + 1)
            if torch.equal(padded[:, top : top + 32, left : left + 32], after)
        ]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 20
    assert torch.equal(augment.crop(images, 0), images)


def test_cutout_greys_one_square(images: Tensor) -> None:
    images[images == augment.GREY] = 0
    cut = augment.cutout(images, 8)
    grey = (cut == augment.GREY).all(dim=1)
    assert torch.equal(torch.where(grey[:, None], images, cut), images)
    sizes = grey.sum(dim=(1, 2))
    assert sizes.max() == 64
    assert sizes.min() >= 16
    assert torch.equal(augment.cutout(images, 0), images)


def test_mixing_keeps_shares_that_sum_to_one(images: Tensor) -> None:
    normal = augment.normalise(images)
    labels = torch.arange(64) % 10
    for mix in (augment.mixup, augment.cutmix):
        mixed, soft = mix(normal, labels, alpha=1.0, classes=10)
        assert mixed.shape == normal.shape
        assert soft.shape == (64, 10)
        assert torch.allclose(soft.sum(dim=1), torch.ones(64))
        assert not torch.equal(mixed, normal)


def test_cutmix_share_is_the_share_of_pixels(images: Tensor) -> None:
    images = torch.arange(64, dtype=torch.float32)[:, None, None, None].expand(64, 3, 32, 32)
    mixed, soft = augment.cutmix(images, torch.arange(64), alpha=1.0, classes=64)
    own = (mixed == images).all(dim=1).float().mean(dim=(1, 2))
    assert torch.allclose(soft[torch.arange(64), torch.arange(64)], own, atol=1e-6)
