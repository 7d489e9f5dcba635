"""Where the prepared data lies, and who may read it.

    D/train/    images.npy, labels.npy, rung_images.npy, meta.json     the candidate reads this folder only
    D/eval/     val_images.npy, test_images.npy                        trusted phases
    D/private/  val_labels.npy, test_labels.npy, rung_labels.npy       trusted phases, mode 0700

Images are uint8 [n, 3, 32, 32], labels uint8 [n].
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from swarm.harness.errors import DataMissing
from swarm.trial.contract import CACHE_VARIABLE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

IMAGE_SHAPE = (3, 32, 32)
CLASSES = 100
TRAIN_ROWS, RUNG_ROWS, VAL_ROWS, TEST_ROWS = 44_000, 1_000, 5_000, 10_000

Part = Literal["train", "rung", "val", "test"]
ROWS: dict[Part, int] = {"train": TRAIN_ROWS, "rung": RUNG_ROWS, "val": VAL_ROWS, "test": TEST_ROWS}


@dataclass(frozen=True)
class LabelledImages:
    """One part of a data set: images uint8 [n, 3, 32, 32] and labels uint8 [n]."""

    images: "NDArray[np.uint8]"
    labels: "NDArray[np.uint8]"


@dataclass(frozen=True)
class TrainSet:
    """The labelled training images, on the trial's device: uint8 [n, 3, 32, 32] and int64 [n]."""

    images: "Tensor"
    labels: "Tensor"
    classes: int

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Layout:
    """The files under one prepared data folder."""

    root: Path

    def images(self, part: Part) -> Path:
        return (
            self.root
            / {
                "train": "train/images.npy",
                "rung": "train/rung_images.npy",
                "val": "eval/val_images.npy",
                "test": "eval/test_images.npy",
            }[part]
        )

    def labels(self, part: Part) -> Path:
        return self.root / ("train/labels.npy" if part == "train" else f"private/{part}_labels.npy")

    @property
    def meta(self) -> Path:
        return self.root / "train" / "meta.json"

    def read(self, path: Path) -> "NDArray[np.uint8]":
        """Memory-mapped copy-on-write, so that trials share one copy in the page cache. Raises DataMissing."""
        import numpy as np

        try:
            array: NDArray[np.uint8] = np.load(path, mmap_mode="c", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataMissing(f"{path}: {error}. Make it with `python -m swarm.harness.prepare`.") from error
        return array

    def version(self) -> str | None:
        """The version that the prepared data states, None if there is none or it cannot be read."""
        try:
            return str(json.loads(self.meta.read_text())["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def cache_root() -> Path:
    """`SWARM_CACHE`, or ~/.cache/swarm."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "swarm"
