"""Prepares the data once, into a cache of plain arrays.

    python -m swarm.harness.prepare [--dataset cifar100|standin|auto] [--json]

`auto` means CIFAR-100 where it is cached, named by SWARM_DATA or downloadable, and otherwise the stand-in.
"""

import argparse
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from swarm.harness.errors import HarnessError
from swarm.harness.layout import CLASSES, LabelledImages, Layout, Part, cache_root
from swarm.trial.contract import DATA_VARIABLE

if TYPE_CHECKING:
    from swarm.harness.archive import Source

Dataset = Literal["cifar100", "standin", "auto"]
CIFAR_VERSION = "cifar100-1"
CONNECT_TIMEOUT_S = 8.0


@dataclass(frozen=True)
class Prepared:
    """Where a data set lies, and which one it turned out to be."""

    dataset: Literal["cifar100", "standin"]
    layout: Layout
    version: str
    reason: str


def prepare(dataset: Dataset = "auto", cache: Path | None = None) -> Prepared:
    """Makes the cache unless it is there; two processes at once make it once. Raises DataError."""
    folder = (cache or cache_root()) / "data"
    folder.mkdir(parents=True, exist_ok=True)
    if dataset == "standin":
        return _standin(folder, "asked for")
    if dataset == "cifar100":
        return _cifar100(folder)
    from swarm.harness.archive import Unreachable

    try:
        return _cifar100(folder, timeout_s=CONNECT_TIMEOUT_S)
    except Unreachable as error:
        return _standin(folder, f"CIFAR-100 is not here and cannot be fetched ({str(error).splitlines()[1].strip()})")


def _standin(folder: Path, reason: str) -> Prepared:
    from swarm.harness import standin

    layout = Layout(folder / "standin")
    with _locked(folder / "standin.lock"):
        key = _key(folder / "standin.key", standin.KEY_BYTES)
        version = standin.version(key)
        if layout.version() != version:
            _write(layout, version, lambda part: standin.generate(part, key))
    return Prepared("standin", layout, version, reason)


def _key(path: Path, size: int) -> bytes:
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


def _cifar100(folder: Path, timeout_s: float | None = None) -> Prepared:
    from swarm.harness import archive

    with _locked(folder / "cifar100.lock"):
        named = os.environ.get(DATA_VARIABLE)
        if named:
            source = archive.local_source(Path(named), archive.accepted())
            reason = f"{DATA_VARIABLE}={named}"
        else:
            layout = Layout(folder / "cifar100")
            if layout.version() == CIFAR_VERSION:
                return Prepared("cifar100", layout, CIFAR_VERSION, "cached")
            source = archive.download(folder, timeout_s=timeout_s or archive.TIMEOUT_S)
            reason = "downloaded"
        return _from_source(folder, source, reason)


def _from_source(folder: Path, source: "Source", reason: str) -> Prepared:
    """Other data than the pinned archive gets a folder and a version of its own: results must not mix."""
    suffix = "" if source.is_official else f"-{source.sha256[:8]}"
    layout, version = Layout(folder / f"cifar100{suffix}"), CIFAR_VERSION + suffix
    if layout.version() != version:
        from swarm.harness.archive import decode
        from swarm.harness.split import split

        official = decode(source)
        parts = {**split(official.train.images, official.train.labels), "test": official.test}
        _write(layout, version, parts.__getitem__)
    return Prepared("cifar100", layout, version, reason)


def _write(layout: Layout, version: str, part_of: Callable[[Part], LabelledImages]) -> None:
    """Builds the folder beside its place and renames it, so that a reader sees all of it or nothing."""
    import numpy as np

    building = layout.root.with_name(f"{layout.root.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    draft = Layout(building)
    for name in ("train", "eval", "private"):
        (building / name).mkdir(parents=True)
    (building / "private").chmod(0o700)
    rows: dict[str, int] = {}
    parts: tuple[Part, ...] = ("train", "rung", "val", "test")
    for part in parts:
        content = part_of(part)
        for path, array in ((draft.images(part), content.images), (draft.labels(part), content.labels)):
            with path.open("wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())
        rows[part] = len(content.labels)
    draft.meta.write_text(json.dumps({"version": version, "classes": CLASSES, "rows": rows}) + "\n")
    _exchange(building, layout.root)


def _exchange(building: Path, final: Path) -> None:
    """Running trials keep their memory maps of the old folder: unlinking does not take the pages away."""
    old = final.with_name(f"{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    building.rename(final)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """A kernel lock: it frees itself when its holder dies. The file stays."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m swarm.harness.prepare", description="make the data cache")
    parser.add_argument("--dataset", choices=["cifar100", "standin", "auto"], default="auto")
    parser.add_argument("--json", action="store_true", help="where it is and what it holds, as one JSON object")
    options = parser.parse_args(arguments)
    try:
        prepared = prepare(options.dataset)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(_summary(prepared)) if options.json else _sentence(prepared))
    return 0


def _summary(prepared: Prepared) -> Mapping[str, str]:
    return {
        "dataset": prepared.dataset,
        "data_dir": str(prepared.layout.root),
        "version": prepared.version,
        "reason": prepared.reason,
    }


def _sentence(prepared: Prepared) -> str:
    return f"{prepared.dataset} ({prepared.version}, {prepared.reason}): {prepared.layout.root}"


if __name__ == "__main__":
    sys.exit(main())
