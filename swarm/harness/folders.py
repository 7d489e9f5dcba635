"""Prepared data on disk: made beside its place and renamed, once, by whoever comes first."""

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.harness.layout import Layout

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Prepared:
    """Where a data set lies, which one it turned out to be, and why."""

    dataset: str
    layout: Layout
    version: str
    reason: str


def new_folder(place: Path) -> Path:
    """An empty folder beside `place`, with those of a data set in it; `private` is for its owner alone."""
    building = place.with_name(f"{place.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    for name in ("train", "eval", "private"):
        (building / name).mkdir(parents=True)
    (building / "private").chmod(0o700)
    return building


def save(path: Path, array: "NDArray[np.uint8] | NDArray[Any]") -> None:
    import numpy as np

    with path.open("wb") as file:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())


def exchange(building: Path, final: Path) -> None:
    """Running trials keep their memory maps of the old folder: unlinking does not take the pages away."""
    old = final.with_name(f"{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    building.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def key_of(path: Path, size: int) -> bytes:
    """The installation's own key, made when it is first needed; for its owner alone."""
    with contextlib.suppress(OSError):
        if len(key := path.read_bytes()) == size:
            return key
    key = secrets.token_bytes(size)
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return key


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """A kernel lock: it frees itself when its holder dies. The file stays."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
