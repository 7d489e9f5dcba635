"""The split of CIFAR-100: stratified, disjoint, complete, and independent of the order of the rows."""

import numpy as np
import pytest

from swarm.harness.layout import LabelledImages, Part
from swarm.harness.split import split

EACH = 64


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    rows = 100 * EACH
    images = np.zeros((rows, 3, 32, 32), np.uint8)
    images[:, 0, 0, :4] = np.arange(rows, dtype="<u4").view(np.uint8).reshape(-1, 4)
    return images


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.tile(np.arange(100, dtype=np.uint8), EACH)


@pytest.fixture(scope="module")
def parts(images: np.ndarray, labels: np.ndarray) -> dict[Part, LabelledImages]:
    return split(images, labels)


def identities(images: np.ndarray) -> list[int]:
    return images[:, 0, 0, :4].copy().view("<u4")[:, 0].tolist()


def test_parts_are_stratified_disjoint_and_complete(
    images: np.ndarray, labels: np.ndarray, parts: dict[Part, LabelledImages]
) -> None:
    assert {part: set(np.bincount(content.labels).tolist()) for part, content in parts.items()} == {
        "val": {50},
        "rung": {10},
        "train": {EACH - 60},
    }
    everything = [identity for content in parts.values() for identity in identities(content.images)]
    assert sorted(everything) == list(range(len(images)))
    for content in parts.values():
        assert np.array_equal(labels[identities(content.images)], content.labels)


def test_split_does_not_depend_on_the_order_of_the_rows(
    images: np.ndarray, labels: np.ndarray, parts: dict[Part, LabelledImages]
) -> None:
    order = np.random.default_rng(0).permutation(len(images))
    shuffled = split(images[order], labels[order])
    for part, content in parts.items():
        assert sorted(identities(content.images)) == sorted(identities(shuffled[part].images))


def test_split_is_pinned(parts: dict[Part, LabelledImages]) -> None:
    assert identities(parts["rung"].images)[:5] == [0, 3, 24, 25, 27]


def test_unequal_classes_are_refused(images: np.ndarray, labels: np.ndarray) -> None:
    wrong = labels.copy()
    wrong[0] = 1
    with pytest.raises(ValueError, match=f"class 0 has {EACH - 1} images"):
        split(images, wrong)
