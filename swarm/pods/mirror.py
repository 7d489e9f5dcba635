"""A copy of a pod's brain, byte for byte, that grows with it. Whoever makes it may be killed at any byte."""

import os
import time
from pathlib import Path

from swarm.errors import PodError
from swarm.pods.order import BRAIN
from swarm.pods.reach import OutOfReach, Reach

PIECE_BYTES = 1 << 20
LIMIT_S = 60.0  # of one look: who brings home has a deadline to look at as well
MAX_BYTES = 256 * 2**20  # a night has a few MB
_ANCHOR_BYTES = 256  # each line holds the hash of the one before, so the last bytes stand for all


def follow(reach: Reach, mirror: Path, limit_s: float = LIMIT_S) -> int:
    """Adds what is new in the pod's brain. Returns the size of the copy, in bytes.

    A pod's brain that no longer begins with the copy is copied anew, and the old copy is kept beside it. Raises
    OutOfReach, also after `limit_s`, with what has come kept; and PodError for a brain that is larger than any study's.
    """
    mirror.parent.mkdir(parents=True, exist_ok=True)
    if not _goes_on(reach, mirror):
        mirror.replace(mirror.with_name(f"{mirror.name}.{mirror.stat().st_size}.replaced"))
    ends_at = time.monotonic() + limit_s
    with mirror.open("ab") as file:
        while piece := reach.read(BRAIN, file.tell(), PIECE_BYTES)[:PIECE_BYTES]:
            if file.tell() + len(piece) > MAX_BYTES:
                raise PodError(f"the pod's brain is over {MAX_BYTES} bytes, which no study's is: no more is copied")
            file.write(piece)
            file.flush()
            if time.monotonic() > ends_at:
                raise OutOfReach(f"{file.tell()} bytes of its brain in {limit_s:g} s, and there is more: going on")
        os.fsync(file.fileno())
        return file.tell()


def copied(whole: bytes, mirror: Path) -> int:
    """The same from a copy that was fetched as a whole."""
    if mirror.exists() and not whole.startswith(mirror.read_bytes()):
        mirror.replace(mirror.with_name(f"{mirror.name}.{mirror.stat().st_size}.replaced"))
    draft = mirror.with_name(f"{mirror.name}.new")
    draft.write_bytes(whole)
    draft.replace(mirror)
    return len(whole)


def _goes_on(reach: Reach, mirror: Path) -> bool:
    if not mirror.exists():
        return True
    size = mirror.stat().st_size
    start = max(0, size - _ANCHOR_BYTES)
    with mirror.open("rb") as file:
        file.seek(start)
        return reach.read(BRAIN, start, size - start) == file.read()
