"""The stand-in: the same bytes everywhere with one key, balanced, and built as its description says."""

import hashlib
import random

import numpy as np
import pytest

from swarm.harness import standin
from swarm.harness.draws import Draws
from swarm.harness.layout import ROWS, LabelledImages, Part

KEY = bytes(range(standin.KEY_BYTES))


def sha256(part: LabelledImages) -> str:
    return hashlib.sha256(part.images.tobytes() + part.labels.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def rung() -> LabelledImages:
    return standin.generate("rung", KEY)


def test_bytes_are_pinned_and_independent_of_global_generators(rung: LabelledImages) -> None:
    random.seed(99)
    np.random.seed(99)
    assert sha256(standin.generate("rung", KEY)) == sha256(rung) == PINNED["rung"]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_every_part_is_pinned(part: Part) -> None:
    assert sha256(standin.generate(part, KEY)) == PINNED[part]


def test_shape_balance_and_range(rung: LabelledImages) -> None:
    assert rung.images.shape == (1000, 3, 32, 32)
    assert np.bincount(rung.labels, minlength=100).tolist() == [10] * 100
    assert 100 < rung.images.mean() < 156
    assert rung.images.std() > 20


def test_rows_hold_whole_objects() -> None:
    assert ROWS["train"] % (standin.VIEWS * 100) == 0
    assert standin._CHUNK % standin.VIEWS == 0


def test_another_key_makes_other_images_of_other_classes_in_another_order(rung: LabelledImages) -> None:
    other = standin.generate("rung", KEY[::-1])
    assert standin.version(KEY) != standin.version(KEY[::-1])
    assert (other.labels != rung.labels).mean() > 0.9
    assert (other.images != rung.images).mean() > 0.9


def test_a_place_says_nothing_about_a_class(rung: LabelledImages) -> None:
    assert (rung.labels == np.arange(1000) % 100).mean() < 0.05


def test_wrong_labels_stay_in_the_family() -> None:
    labels = np.repeat(np.arange(100, dtype=np.uint8), 400)
    noisy = standin._mislabel(labels, Draws(KEY, stream=77))
    wrong = labels != noisy
    assert wrong.mean() == pytest.approx(standin.WRONG_LABEL_PERCENT / 100, abs=0.005)
    assert (labels // 5 == noisy // 5).all()


PINNED: dict[Part, str] = {
    "train": "7b12daaf3cfb45eec518470ba4fe2857cfdbc76cba2286e617c83ea443239eca",
    "rung": "2d2b1dc5a91f1f91c3523d8e9b54ecaa81d3f9bc6bb304d2b6efa2eb84b520ee",
    "val": "27cf08304414a4c350046143bc27ad8b92c150d534be8e74d13270a133cb1b7b",
    "test": "1ae52610bd6f4a56d071e46ff9b01fdcb1c9de70c8dcff654974eeea1a2a4492",
}
