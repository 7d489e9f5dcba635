"""Text for a language model: where the prepared bytes lie, and what a program gets of them.

    D/train/    text.npy, rung_windows.npy, meta.json     the candidate reads this folder only
    D/private/  val.npy, test.npy, rung_next.npy          trusted phases, mode 0700

`text.npy` is uint8 [n]. `val.npy` and `test.npy` are windows of LONGEST bytes and the one that follows, uint8
[1024, LONGEST + 1]; none of them overlaps another, and the byte that follows one is shown nowhere. The rung windows are
shown without it, and of a rung only the prediction of that byte counts. A device with a shorter window is asked about
the end of each.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swarm.harness.layout import Layout, Part
from swarm.trial.asked import ASKED
from swarm.trial.config import Device

if TYPE_CHECKING:
    from torch import Tensor

VOCABULARY = 256
"""A token is a byte."""
WINDOW: dict[Device, int] = {"cpu": 64, "cuda": 256}
"""Bytes that a model is asked about at once. Results of one device class are never compared with those of another."""
LONGEST = max(WINDOW.values())
ROWS: dict[Part, int] = {"val": ASKED["text"].val, "test": ASKED["text"].test, "rung": ASKED["text"].rung}


@dataclass(frozen=True)
class TextSet:
    """The training text on the trial's device: uint8 [n]. A model is trained and asked on `window` bytes at a time."""

    text: "Tensor"
    window: int
    classes: int = VOCABULARY

    def __len__(self) -> int:
        """Windows that fit into it side by side."""
        return (len(self.text) - 1) // self.window


@dataclass(frozen=True)
class TextLayout(Layout):
    """The files under one prepared folder of text."""

    @property
    def text(self) -> Path:
        return self.root / "train" / "text.npy"

    @property
    def rung_windows(self) -> Path:
        return self.root / "train" / "rung_windows.npy"

    def windows(self, part: Part) -> Path:
        """Of `val` and `test`: the windows with the byte that follows each. Of `rung`: those bytes alone."""
        return self.root / "private" / ("rung_next.npy" if part == "rung" else f"{part}.npy")
