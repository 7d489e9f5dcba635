"""The one way to read what a candidate may have written, to write a file whole, and to delete what was left.

Everything is read as hostile: plain files only, no link is followed, nothing is waited for, and all is bounded.
"""

import json
import os
import shutil
import stat
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

MAX_JSON_BYTES = 1 << 20
MAX_DIGITS, MAX_NUMBER = 18, 1e18  # of a number in a JSON file; a sum or a product of a few is a float still


class Unreadable(ValueError):
    """A file of a candidate that is missing, too large or no plain file. The message says which."""


def open_plain(path: Path, limit: int) -> BinaryIO:
    """A plain file of at most `limit` bytes, open for reading. Follows no link and never waits for a pipe.

    Raises Unreadable. A file that grows later is the caller's to bound: read at most `limit` bytes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unreadable(f"{path.name} cannot be opened: {error.strerror}") from error
    facts = os.fstat(descriptor)
    if stat.S_ISREG(facts.st_mode) and facts.st_size <= limit:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        raise Unreadable(f"{path.name} is not a plain file")
    raise Unreadable(f"{path.name} has {facts.st_size} bytes, limit {limit}")


def read_plain(path: Path, limit: int) -> bytes:
    """The whole of a plain file of at most `limit` bytes. Raises Unreadable."""
    with open_plain(path, limit) as file:
        try:
            return file.read(limit)
        except OSError as error:
            raise Unreadable(f"{path.name} cannot be read: {error.strerror}") from error


def read_tail(path: Path, limit: int) -> bytes:
    """The last `limit` bytes of a plain file of any size; empty when there is none."""
    with suppress(Unreadable, OSError), open_plain(path, 1 << 62) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - limit))
        return file.read(limit)
    return b""


def read_json(path: Path, limit: int = MAX_JSON_BYTES) -> dict[str, object] | None:
    """The JSON object in a plain file; None when there is none, it is too large or it is anything else.

    Its numbers are such that one can count with them: finite, and below MAX_NUMBER.
    """
    try:
        text = read_plain(path, limit)
        fields = json.loads(text, parse_int=_whole, parse_float=_real, parse_constant=_real)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _real(text: str) -> float:
    number = float(text)
    if not -MAX_NUMBER < number < MAX_NUMBER:  # NaN is not below anything
        raise ValueError(f"{text[:40]} is no number to count with")
    return number


def write_whole(path: Path, text: str, *, durable: bool = False) -> None:
    """The file is there whole or not at all, for every reader; `durable`: also after a crash of the machine."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    draft.replace(path)
    if not durable:
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def remove_tree(folder: Path) -> None:
    """Deletes a folder that a candidate filled: too deep for recursion, or without permissions, as may be."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except (OSError, RecursionError):
        for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
            subprocess.run([*command, "--", str(folder)], check=False, stderr=subprocess.DEVNULL)
