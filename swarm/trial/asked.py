"""How many rows each harness asks a program about: the words that the control plane and the harness share.

A row is an image, or a window of text. It is also what a budget in samples counts.
"""

from dataclasses import dataclass
from typing import Literal

Harness = Literal["images", "text"]


@dataclass(frozen=True)
class Asked:
    """Rows in each prediction: of the validation and the test split, again in the second process, and at a rung."""

    val: int
    test: int
    repeated_share: float
    rung: int

    def rows(self, split: Literal["val", "test"]) -> int:
        return self.val if split == "val" else self.test

    def repeated(self, split: Literal["val", "test"]) -> int:
        return int(self.repeated_share * self.rows(split))


ASKED: dict[Harness, Asked] = {
    "images": Asked(val=5000, test=10_000, repeated_share=0.1, rung=1000),
    "text": Asked(val=1024, test=1024, repeated_share=0.5, rung=512),
}
