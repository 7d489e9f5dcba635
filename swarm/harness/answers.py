"""What a candidate left as its answers: read as inert data, and how far two of them may differ."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swarm.harness.errors import DataMissing, InvalidOutput
from swarm.trial.files import Unreadable, read_plain

TOLERANCE = {"cpu": (2e-4, 5e-3), "cuda": (1e-2, 5e-2)}
"""What rounding changes in a probability, and as a share of it: other batch sizes take other kernels, on a GPU in fewer
bits."""
DIFFERING_SHARE = 0.01
_HEADER_BYTES = 4096
_DTYPES = (np.dtype("<f4"), np.dtype("<f2"))


def read_logits(path: Path, shape: tuple[int, ...]) -> NDArray[np.floating]:
    """Reads what a candidate wrote: a plain file of bounded size, float32 or float16 of this shape, all finite.

    Raises InvalidOutput naming the first thing that is wrong. Never unpickles, follows no link, opens no pipe.
    """
    try:
        content = read_plain(path, _HEADER_BYTES + int(np.prod(shape)) * 4)
        logits = np.load(io.BytesIO(content), allow_pickle=False)
    except Unreadable as error:
        raise InvalidOutput(str(error)) from error
    except (ValueError, EOFError, OSError, MemoryError, SyntaxError) as error:
        raise InvalidOutput(f"{path.name} is not a plain array: {error}") from error
    if not isinstance(logits, np.ndarray) or logits.dtype not in _DTYPES:
        found = getattr(logits, "dtype", type(logits).__name__)
        raise InvalidOutput(f"{path.name} has type {found}, expected float32 or float16")
    if logits.shape != shape:
        raise InvalidOutput(f"{path.name} has shape {logits.shape}, expected {shape}")
    if not np.isfinite(logits).all():
        raise InvalidOutput(f"{path.name} has {int((~np.isfinite(logits)).sum())} values that are not finite")
    return logits


def order_of(path: Path, rows: int | None = None) -> NDArray[np.int64]:
    """What the stage phase has written down. Raises DataMissing, also when it is no order of so many rows."""
    try:
        order: NDArray[np.int64] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataMissing(f"{path}: {error}. The stage phase writes it.") from error
    if rows is not None and sorted(order.tolist()) != list(range(rows)):
        raise DataMissing(f"{path} is not an order of {rows} rows: stage the trial again")
    return order
