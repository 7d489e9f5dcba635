"""Numbers drawn from a key, the same on every machine."""

import hashlib

import numpy as np
from numpy.typing import NDArray


class Draws:
    """Numbers from Philox, a counter-based generator whose raw stream numpy keeps fixed between versions."""

    def __init__(self, key: bytes, stream: int) -> None:
        own = hashlib.sha256(stream.to_bytes(4, "little") + key).digest()[:16]
        self._bits = np.random.Philox(key=int.from_bytes(own, "little"))

    def integers(self, low: int, high: int, shape: int | tuple[int, ...]) -> NDArray[np.int64]:
        """Uniform in [low, high); the bias of the modulus is below 1e-15."""
        raw = self._bits.random_raw(int(np.prod(shape))) >> np.uint64(8)
        return (raw % np.uint64(high - low)).astype(np.int64).reshape(shape) + low

    def order(self, rows: int) -> NDArray[np.int64]:
        """A permutation of so many rows."""
        found: NDArray[np.int64] = np.argsort(self._bits.random_raw(rows), kind="stable")
        return found
