"""Prepares the data once, into a cache of plain arrays.

    python -m swarm.harness.prepare [--harness images|text] [--dataset auto|cifar100|kjv|standin] [--json]

`auto` means CIFAR-100 where it is cached, named by SWARM_DATA or downloadable, and otherwise the stand-in. Of text see
`swarm.harness.prepare_text`.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from swarm.harness.errors import DataMissing, HarnessError
from swarm.harness.folders import Prepared, exchange, key_of, locked, new_folder, save
from swarm.harness.layout import CLASSES, LabelledImages, Layout, Part, cache_root
from swarm.trial.asked import Harness
from swarm.trial.contract import DATA_VARIABLE

if TYPE_CHECKING:
    from swarm.harness.archive import Source

Dataset = Literal["auto", "cifar100", "kjv", "standin"]
OF_HARNESS: dict[Harness, tuple[Dataset, ...]] = {
    "images": ("auto", "cifar100", "standin"),
    "text": ("auto", "kjv", "standin"),
}
CIFAR_VERSION = "cifar100-1"
CONNECT_TIMEOUT_S = 8.0


def prepare(dataset: Dataset = "auto", cache: Path | None = None, harness: Harness = "images") -> Prepared:
    """Makes the cache unless it is there; two processes at once make it once. Raises DataError, and DataMissing for a
    data set of another kind than the harness takes."""
    if dataset not in OF_HARNESS[harness]:
        raise DataMissing(f"{dataset} is no data for {harness}: choose one of {', '.join(OF_HARNESS[harness])}")
    folder = (cache or cache_root()) / "data"
    folder.mkdir(parents=True, exist_ok=True)
    if harness == "text":
        from swarm.harness.prepare_text import prepare_text

        return prepare_text(dataset, folder)  # type: ignore[arg-type] # checked above
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
    with locked(folder / "standin.lock"):
        key = key_of(folder / "standin.key", standin.KEY_BYTES)
        version = standin.version(key)
        if layout.version() != version:
            _write(layout, version, lambda part: standin.generate(part, key))
    return Prepared("standin", layout, version, reason)


def _cifar100(folder: Path, timeout_s: float | None = None) -> Prepared:
    from swarm.harness import archive

    with locked(folder / "cifar100.lock"):
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
    draft = Layout(new_folder(layout.root))
    rows: dict[str, int] = {}
    parts: tuple[Part, ...] = ("train", "rung", "val", "test")
    for part in parts:
        content = part_of(part)
        for path, array in ((draft.images(part), content.images), (draft.labels(part), content.labels)):
            save(path, array)
        rows[part] = len(content.labels)
    draft.meta.write_text(json.dumps({"version": version, "classes": CLASSES, "rows": rows}) + "\n")
    exchange(draft.root, layout.root)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m swarm.harness.prepare", description="make the data cache")
    parser.add_argument("--dataset", choices=get_args(Dataset), default="auto")
    parser.add_argument("--harness", choices=get_args(Harness), default="images")
    parser.add_argument("--json", action="store_true", help="where it is and what it holds, as one JSON object")
    options = parser.parse_args(arguments)
    try:
        prepared = prepare(options.dataset, harness=options.harness)
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
