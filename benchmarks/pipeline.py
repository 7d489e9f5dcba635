"""Images per second of the harness's input pipeline against a torchvision DataLoader with the same augmentation.

    python benchmarks/pipeline.py [--json] [--device cpu|cuda]

Both read CIFAR-sized uint8 images from memory, shuffle, mirror half of them, crop with reflected padding of 4, convert
to normalised float32 and deliver batches of 512. One thread and no worker processes on either side: what is compared
is the work, and a trial owns one core. Five interleaved rounds, the median of each.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from swarm.harness import augment
from swarm.harness.batches import Batches
from swarm.harness.layout import TrainSet

IMAGES, BATCH, PAD, ROUNDS = 10_240, 512, 4, 5


class ImageFolderInMemory(Dataset[tuple[Tensor, int]]):
    """One image at a time, as torchvision data sets deliver them."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Callable[[Tensor], Tensor]) -> None:
        self._images, self._labels, self._transform = images, labels, transform

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(self._images[index]), int(self._labels[index])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON line (the default prints a sentence)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = torch.device(options.device)
    images = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8)
    labels = torch.arange(IMAGES) % 100
    train = TrainSet(images.to(device), labels.to(device), classes=100)
    ours, baseline = [], []
    for _ in range(ROUNDS):
        ours.append(images_per_s(lambda: harness_batches(train), device))
        baseline.append(images_per_s(lambda: loader_batches(images, labels, device), device))
    report(statistics.median(ours), statistics.median(baseline), options.device, options.json)
    return 0


def harness_batches(train: TrainSet) -> Iterator[tuple[Tensor, Tensor]]:
    source = Batches(train, BATCH, lambda batch: augment.crop(augment.flip(batch), PAD), seed=0)
    for _ in range(IMAGES // BATCH):
        _, rows = source.next_rows()
        yield source.load(rows)


def loader_batches(images: Tensor, labels: Tensor, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    transform = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomCrop(32, padding=PAD, padding_mode="reflect"),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=[0.5] * 3, std=[0.25] * 3),
        ]
    )
    loader = DataLoader(ImageFolderInMemory(images, labels, transform), BATCH, shuffle=True, drop_last=True)
    for batch, targets in loader:
        yield batch.to(device), targets.to(device)


def images_per_s(batches: Callable[[], Iterable[tuple[Tensor, Tensor]]], device: torch.device) -> float:
    """CPU seconds of this process on a CPU, so that a busy machine does not blur the ratio; wall seconds on a GPU."""
    now = time.process_time if device.type == "cpu" else time.perf_counter
    began, count = now(), 0
    for images, _ in batches():
        count += len(images)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return count / (now() - began)


def report(ours: float, baseline: float, device: str, as_json: bool) -> None:
    figure = {
        "bench": f"pipeline/{device}",
        "ours": round(ours),
        "baseline": round(baseline),
        "ratio": round(ours / baseline, 2),
        "unit": "images/s on one thread, flip and crop, batches of 512",
        "n": ROUNDS,
    }
    if as_json:
        print(json.dumps(figure))
    else:
        print(f"ours {ours:,.0f} images/s, DataLoader {baseline:,.0f} images/s: {ours / baseline:.1f} times as many")


if __name__ == "__main__":
    sys.exit(main())
