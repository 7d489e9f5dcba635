"""A procedural stand-in for CIFAR-100: same sizes, 100 classes in 20 families of 5, made in seconds, no download.

How an image comes about (all in integers, so that every machine makes the same bytes):

    gain * (family pattern + class pattern + a deviation of the object's own)   shifted, half of them mirrored
      + a background of the view + pixel noise + brightness

Patterns are smooth random colour fields. The 44,000 training images are ten views of 4,400 objects, like frames of a
film: views share place, mirroring and deviation, and differ in background, brightness, noise and a shift of one pixel.
Every rung, validation and test image shows an object of its own, further from the centre and mirrored more often. So a
program gains by what also helps on photographs: invariances that the training set shows too rarely (flip, crop),
capacity and speed, a schedule, and not trusting labels too much (some name another class of the family).

All of it is drawn from a key that each installation makes for itself and keeps where only trusted phases read: who knew
it could paint the evaluation images, and their labels, instead of learning. The rows of each part are shuffled with it
too, so that a place says nothing about a class.

It is NOT a benchmark of anything: numbers on it compare only with numbers on the same installation.
"""

import hashlib
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from swarm.harness.draws import Draws
from swarm.harness.layout import CLASSES, ROWS, LabelledImages, Part

KEY_BYTES = 16

FAMILIES = 20
VIEWS = 10
SIDE, CHANNELS = 32, 3

SHIFT = 4  # pixels an object may lie away from the centre
TRAIN_SHIFT = 2  # the same, for the objects of the training set
MIRRORED_EIGHTHS, TRAIN_MIRRORED_EIGHTHS = 4, 2
VIEW_SHIFT = 1  # pixels between views of one object
FAMILY_AMPLITUDE, CLASS_AMPLITUDE, OBJECT_AMPLITUDE, BACKGROUND_AMPLITUDE = 44, 52, 40, 24
NOISE_AMPLITUDE = 14
GAIN_SIXTEENTHS = (4, 22)  # contrast of an object: this many sixteenths
BRIGHTNESS = 24
WRONG_LABEL_PERCENT = 8

_FIELD = SIDE + 2 * (SHIFT + VIEW_SHIFT)  # a field is larger than an image by every shift
_BANK = 512  # deviations and backgrounds are windows into this many fields
_CHUNK = 500
_Scalar = TypeVar("_Scalar", np.int64, np.bool_)
_PARTS: tuple[Part, ...] = ("train", "rung", "val", "test")


def version(key: bytes) -> str:
    """Names the recipe and, without giving it away, the key."""
    return f"standin-3-{hashlib.sha256(b'version' + key).hexdigest()[:8]}"


def generate(part: Part, key: bytes) -> LabelledImages:
    """One part of the stand-in, the same bytes on every machine with this key. About two seconds for `train` on one
    core."""
    rows = ROWS[part]
    views = VIEWS if part == "train" else 1
    painter = _Painter(key, training=part == "train")
    images = np.empty((rows, CHANNELS, SIDE, SIDE), np.uint8)
    labels = np.empty(rows, np.uint8)
    draw = Draws(key, stream=10 + _PARTS.index(part))
    row = 0
    for classes in _chunks(_object_classes(rows // views), _CHUNK // views):
        chunk = painter.paint(classes, views, draw)
        images[row : row + len(chunk)] = chunk
        labels[row : row + len(chunk)] = np.repeat(classes, views)
        row += len(chunk)
    if part == "train":
        labels = _mislabel(labels, draw)
    shuffled = draw.order(rows)
    return LabelledImages(images[shuffled], labels[shuffled])


class _Painter:
    """Holds the patterns of all classes and the banks of nuisance; paints objects."""

    def __init__(self, key: bytes, *, training: bool) -> None:
        self._shift, self._mirrored = (TRAIN_SHIFT, TRAIN_MIRRORED_EIGHTHS) if training else (SHIFT, MIRRORED_EIGHTHS)
        draw = Draws(key, stream=1)
        self._families = _scaled(_smooth_fields(draw, FAMILIES, cell=8), FAMILY_AMPLITUDE)
        self._classes = _scaled(_smooth_fields(draw, CLASSES, cell=6), CLASS_AMPLITUDE)
        self._deviations = _scaled(_smooth_fields(draw, _BANK, cell=7), OBJECT_AMPLITUDE)
        self._backgrounds = _scaled(_smooth_fields(draw, _BANK, cell=5), BACKGROUND_AMPLITUDE)
        self._noise = _noise_bank(draw)

    def paint(self, classes: NDArray[np.int64], views: int, draw: Draws) -> NDArray[np.uint8]:
        """Objects of these classes, `views` images each, in order: uint8 [objects * views, 3, 32, 32]."""
        objects = len(classes)
        place = draw.integers(SHIFT - self._shift, SHIFT + self._shift + 1, (2, objects))
        mirrored = draw.integers(0, 8, objects) < self._mirrored
        gain = draw.integers(*GAIN_SIXTEENTHS, objects)
        deviation = draw.integers(0, _BANK, objects), *draw.integers(0, _FIELD - SIDE + 1, (2, objects))

        def per_view(values: NDArray[_Scalar]) -> NDArray[_Scalar]:
            return np.repeat(values, views)

        rows = objects * views
        top, left = (per_view(axis) + draw.integers(0, 2 * VIEW_SHIFT + 1, rows) for axis in place)
        label = per_view(classes)
        image = _windows(self._families, label // (CLASSES // FAMILIES), top, left)
        image += _windows(self._classes, label, top, left)
        image += _windows(self._deviations, *(per_view(axis) for axis in deviation))
        flipped = per_view(mirrored)
        image[flipped] = image[flipped][..., ::-1]
        image *= per_view(gain).astype(np.int16)[:, None, None, None]
        image >>= 4
        image += self._nuisance(rows, draw)
        return np.clip(image, 0, 255, out=image).astype(np.uint8)

    def _nuisance(self, rows: int, draw: Draws) -> NDArray[np.int16]:
        offsets = draw.integers(0, _FIELD - SIDE + 1, (2, rows))
        image = _windows(self._backgrounds, draw.integers(0, _BANK, rows), *offsets)
        size = CHANNELS * SIDE * SIDE
        starts = draw.integers(0, len(self._noise) - size + 1, rows)
        image += sliding_window_view(self._noise, size)[starts].reshape(image.shape)
        image += (128 + draw.integers(-BRIGHTNESS, BRIGHTNESS + 1, rows)).astype(np.int16)[:, None, None, None]
        return image


def _object_classes(objects: int) -> NDArray[np.int64]:
    """Balanced and interleaved: object i is of class i modulo 100."""
    return np.arange(objects, dtype=np.int64) % CLASSES


def _chunks(values: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _windows(
    fields: NDArray[np.int16], which: NDArray[np.int64], top: NDArray[np.int64], left: NDArray[np.int64]
) -> NDArray[np.int16]:
    """The 32x32 windows of `fields[which]` at (top, left): int16 [n, 3, 32, 32], a copy."""
    views = sliding_window_view(fields, (SIDE, SIDE), axis=(2, 3))
    found: NDArray[np.int16] = views[which, :, top, left]
    return found


def _smooth_fields(draw: Draws, count: int, cell: int) -> NDArray[np.int16]:
    """Random colour fields in [-127, 127], smooth over `cell` pixels: int16 [count, 3, _FIELD, _FIELD].

    Bilinear interpolation of a random grid, in integers.
    """
    knots = _FIELD // cell + 2
    grid = draw.integers(-127, 128, (count, CHANNELS, knots, knots)).astype(np.int32)
    position = np.arange(_FIELD)
    low, part = position // cell, (position % cell).astype(np.int32)
    rows = grid[:, :, low] * (cell - part)[:, None] + grid[:, :, low + 1] * part[:, None]
    field = rows[..., low] * (cell - part) + rows[..., low + 1] * part
    return (field // (cell * cell)).astype(np.int16)


def _scaled(fields: NDArray[np.int16], amplitude: int) -> NDArray[np.int16]:
    return (fields.astype(np.int32) * amplitude // 64).astype(np.int16)


def _noise_bank(draw: Draws) -> NDArray[np.int16]:
    """About 200,000 values, roughly normal (the sum of four uniform ones), in +-2 NOISE_AMPLITUDE."""
    total = draw.integers(-127, 128, (4, 1 << 18)).sum(axis=0)
    bank: NDArray[np.int16] = (total * NOISE_AMPLITUDE // 254).astype(np.int16)
    return bank


def _mislabel(labels: NDArray[np.uint8], draw: Draws) -> NDArray[np.uint8]:
    """WRONG_LABEL_PERCENT of the labels become another class of the same family."""
    members = CLASSES // FAMILIES
    wrong = draw.integers(0, 100, len(labels)) < WRONG_LABEL_PERCENT
    step = draw.integers(1, members, len(labels))
    family, member = labels // members, labels % members
    return np.where(wrong, family * members + (member + step) % members, labels).astype(np.uint8)
