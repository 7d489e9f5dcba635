"""The stand-in: the same bytes everywhere, balanced, and built as its description says."""

import hashlib
import random

import numpy as np
import pytest

from swarm.harness import standin
from swarm.harness.layout import ROWS, LabelledImages, Part


def sha256(part: LabelledImages) -> str:
    return hashlib.sha256(part.images.tobytes() + part.labels.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def rung() -> LabelledImages:
    return standin.generate("rung")


def test_bytes_are_pinned_and_independent_of_global_generators(rung: LabelledImages) -> None:
    random.seed(99)
    np.random.seed(99)
    assert sha256(standin.generate("rung")) == sha256(rung) == PINNED["rung"]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_every_part_is_pinned(part: Part) -> None:
    assert sha256(standin.generate(part)) == PINNED[part]


def test_shape_balance_and_range(rung: LabelledImages) -> None:
    assert rung.images.shape == (1000, 3, 32, 32)
    assert np.bincount(rung.labels, minlength=100).tolist() == [10] * 100
    assert 100 < rung.images.mean() < 156
    assert rung.images.std() > 20


def test_rows_hold_whole_objects() -> None:
    assert ROWS["train"] % (standin.VIEWS * 100) == 0
    assert standin._CHUNK % standin.VIEWS == 0


def test_wrong_labels_stay_in_the_family() -> None:
    labels = np.repeat(np.arange(100, dtype=np.uint8), 400)
    noisy = standin._mislabel(labels, standin._Draws(stream=77))
    wrong = labels != noisy
    assert wrong.mean() == pytest.approx(standin.WRONG_LABEL_PERCENT / 100, abs=0.005)
    assert (labels // 5 == noisy // 5).all()


PINNED: dict[Part, str] = {
    "train": "83b514791011526e22ed68659c5a1b43db78ba556305787ad812eb7a41885294",
    "rung": "45bd793527a7699e625355328d498130f7fe0faa803a4c1f01e1c0ae81fa4543",
    "val": "18fca4535ee7f6692c836467ffa3d335e20e70f37a9a7687c2d76726faa6f201",
    "test": "e0d18a734294da33e162bde24e42304b014cf3a7bc56e6705aecf20b40061d28",
}
