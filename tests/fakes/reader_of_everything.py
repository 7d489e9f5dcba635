"""Reads whatever a study left as somebody would who looks for a key: packed, escaped, encoded or written in pieces."""

import base64
import binascii
import html
import re
import subprocess
import urllib.parse
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MAX_READ_BYTES = 4 * 1024 * 1024  # what is larger is data or weights, and read as it is
DEPTH = 3

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|\\([0-7]{1,3})|\\(.)", re.DOTALL)
_SEAM = re.compile(r"[\"']\s*\+?\s*[\"']|\\\r?\n|\s{0,40}\n\s*#\s*|\s+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){8,}")


def places_of(secret: str, *folders: Path) -> list[str]:
    """Files below the folders, and objects of git, in which the secret can be read."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink():
                found += [f"{path} -> "] if secret in str(path.readlink()) else []
            elif secret in path.name or (path.is_file() and can_be_read(secret, path.read_bytes())):
                found.append(str(path))
        for repository in folder.rglob(".git"):
            found += [f"{repository}: an object"] if can_be_read(secret, _objects(repository)) else []
    return found


def can_be_read(secret: str, data: bytes) -> bool:
    """Whether the secret stands in these bytes, also packed, escaped, encoded or in pieces, a few of them at once."""
    if secret.encode() in data:
        return True
    with suppress(zlib.error):
        data = zlib.decompress(data)
    return len(data) <= MAX_READ_BYTES and any(secret in text for text in _readings(data.decode(errors="replace")))


def _readings(text: str, depth: int = DEPTH) -> Iterator[str]:
    yield text
    yield _SEAM.sub("", text)
    if depth:
        plain = html.unescape(urllib.parse.unquote(_ESCAPE.sub(_meant, text)))
        if plain != text:
            yield from _readings(plain, depth - 1)
        if inside := "\n".join(_decoded(text)):
            yield from _readings(inside, depth - 1)
        joined = _SEAM.sub("", text)
        yield from _decoded(joined)


def _decoded(text: str) -> Iterator[str]:
    """What stretches of base64 and hex hold; base64 wherever it may begin."""
    for run in _HEX.findall(text):
        yield bytes.fromhex(run).decode(errors="replace")
    for run in _BASE64.findall(text):
        for start in range(4):
            cut = run[start:].replace("-", "+").replace("_", "/")
            with suppress(binascii.Error):
                yield base64.b64decode(cut[: len(cut) - (len(cut) % 4 == 1)] + "==").decode(errors="replace")


def _meant(escape: re.Match[str]) -> str:
    by_code, by_byte, octal, itself = escape.groups()
    if by_code or by_byte:
        return chr(int(by_code or by_byte, 16))
    return chr(int(octal, 8)) if octal else {"n": "\n", "r": "\r", "t": "\t"}.get(itself, itself)


def _objects(git_dir: Path) -> bytes:
    """All objects of a repository, packed or not, one after the other."""
    listed = ["git", f"--git-dir={git_dir}", "cat-file", "--batch", "--batch-all-objects"]
    return subprocess.run(listed, capture_output=True, check=git_dir.is_dir()).stdout
