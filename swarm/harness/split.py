"""The fixed split of CIFAR-100's 50,000 training images: 44,000 train, 1,000 rung, 5,000 validation, stratified.

Within each class the images are put in the order of the SHA-256 of their bytes: the first 50 are validation, the next
10 the rung slice, the rest training. No random generator is involved, so the split depends on no library version, and
exact duplicates of one class lie side by side instead of on both sides.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from swarm.harness.layout import CLASSES, RUNG_ROWS, VAL_ROWS, LabelledImages, Part


def split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> dict[Part, LabelledImages]:
    """Images uint8 [n, 3, 32, 32] and labels [n] -> the parts `val`, `rung` and `train`, each in original order.

    Every class must have the same count, above 60. Raises ValueError naming the class that has not.
    """
    val_each, rung_each = VAL_ROWS // CLASSES, RUNG_ROWS // CLASSES
    members: dict[Part, list[int]] = {"val": [], "rung": [], "train": []}
    each = len(labels) // CLASSES
    for label in range(CLASSES):
        rows = np.flatnonzero(labels == label)
        if len(rows) != each or each <= val_each + rung_each:
            raise ValueError(
                f"class {label} has {len(rows)} images, expected {each} and more than {val_each + rung_each}"
            )
        ordered = sorted(rows.tolist(), key=lambda row: (hashlib.sha256(images[row].tobytes()).digest(), row))
        members["val"] += ordered[:val_each]
        members["rung"] += ordered[val_each : val_each + rung_each]
        members["train"] += ordered[val_each + rung_each :]
    return {part: _take(images, labels, rows) for part, rows in members.items()}


def _take(images: NDArray[np.uint8], labels: NDArray[np.uint8], rows: list[int]) -> LabelledImages:
    rows = sorted(rows)
    return LabelledImages(images[rows], labels[rows])
