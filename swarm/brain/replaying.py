"""A long replay without the garbage collector, which would look at all records again and again and find nothing."""

import contextlib
import gc
from collections.abc import Iterator

LONG_BYTES = 16 << 20  # some ten thousand records


@contextlib.contextmanager
def without_collections(unread_bytes: int) -> Iterator[None]:
    """Of a short replay nothing changes. After a long one what lives is taken out of later collections as well: half of
    the time of a replay of a million records went into them, and a second of each later collection would."""
    if unread_bytes < LONG_BYTES or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
