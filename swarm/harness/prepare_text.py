"""Prepares text once, into a cache of plain arrays. `swarm.harness.prepare --harness text` calls it.

`auto` is what SWARM_TEXT names, else the King James text where it is cached or can be fetched, else the stand-in.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from swarm.harness.archive import DataError, Unreachable
from swarm.harness.corpus import KJV_VERSION, Texts, fetch, king_james, own_text, windows
from swarm.harness.folders import Prepared, exchange, key_of, locked, new_folder, save
from swarm.harness.layout import Part
from swarm.harness.text import LONGEST, ROWS, VOCABULARY, TextLayout
from swarm.trial.contract import TEXT_VARIABLE

Choice = Literal["auto", "kjv", "standin"]
STANDIN = "standin-text"
_KEY_BYTES = 16


def prepare_text(choice: Choice, folder: Path) -> Prepared:
    """Makes what is chosen below `folder` unless it is there; two processes at once make it once. Raises DataError."""
    with locked(folder / "text.lock"):
        if choice == "standin":
            return _standin(folder, "asked for")
        if choice == "auto" and (named := os.environ.get(TEXT_VARIABLE)):
            return _own(folder, Path(named))
        try:
            return _king_james(folder)
        except Unreachable as error:
            if choice == "kjv":
                raise
            return _standin(folder, f"the text is not here and cannot be fetched ({_second_line(error)})")


def _king_james(folder: Path) -> Prepared:
    layout = TextLayout(folder / "kjv")
    if layout.version() == KJV_VERSION:
        return Prepared("kjv", layout, KJV_VERSION, "cached")
    return _made("kjv", layout, KJV_VERSION, "fetched", lambda: king_james(fetch(folder / "packages")))


def _own(folder: Path, path: Path) -> Prepared:
    """Other text gets a folder and a name of its own: results must not mix."""
    texts, version = own_text(path)
    return _made(version, TextLayout(folder / version), version, f"{TEXT_VARIABLE}={path}", lambda: texts)


def _standin(folder: Path, reason: str) -> Prepared:
    from swarm.harness import standin_text

    key = key_of(folder / "standin-text.key", _KEY_BYTES)
    version = standin_text.version(key)
    return _made(STANDIN, TextLayout(folder / STANDIN), version, reason, lambda: standin_text.generate(key))


def _made(name: str, layout: TextLayout, version: str, reason: str, texts: Callable[[], Texts]) -> Prepared:
    if layout.version() != version:
        _write(layout, version, texts())
    return Prepared(name, layout, version, reason)


def _write(layout: TextLayout, version: str, texts: Texts) -> None:
    """Builds the folder beside its place and renames it, so that a reader sees all of it or nothing."""
    draft = TextLayout(new_folder(layout.root))
    held: dict[Part, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]] = {
        "val": windows(texts.val, "val"),
        "test": windows(texts.test, "test"),
        "rung": windows(texts.rung, "rung"),
    }
    save(draft.text, texts.train)
    save(draft.rung_windows, held["rung"][:, :LONGEST])
    save(draft.windows("rung"), held["rung"][:, LONGEST])
    save(draft.windows("val"), held["val"])
    save(draft.windows("test"), held["test"])
    rows = {str(part): count for part, count in ROWS.items()}
    facts = {"version": version, "classes": VOCABULARY, "rows": {**rows, "train_bytes": len(texts.train)}}
    draft.meta.write_text(json.dumps(facts) + "\n")
    exchange(draft.root, layout.root)


def _second_line(error: DataError) -> str:
    return (str(error).splitlines()[1:] or [""])[0].strip()
