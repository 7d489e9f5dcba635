"""A key that must be found nowhere: in no spelling, in no file of a folder, and not inside of git's objects."""

import base64
import gzip
import json
import os
import subprocess
import urllib.parse
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LARGEST_BYTES = 64 << 20


def spellings(secret: str) -> set[bytes]:
    """The key as it is, reversed, escaped, in hex, and what base64 makes of it wherever it stands in a text."""
    raw = secret.encode()
    spelt = {secret, secret[::-1], json.dumps(secret)[1:-1], urllib.parse.quote(secret, safe=""), raw.hex()}
    spelt |= {raw.hex().upper(), "".join(f"\\x{byte:02x}" for byte in raw), "".join(f"%{byte:02X}" for byte in raw)}
    spelt |= {"".join(f"\\u{ord(letter):04x}" for letter in secret), "".join(f"&#{byte};" for byte in raw)}
    for before in range(3):
        text = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        core = text[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6]
        spelt |= {core, core.replace("+", "-").replace("/", "_")}
    return {form.encode() for form in spelt}


def find(secret: str, folder: Path) -> list[str]:
    """Where the key is, one text for each place: a path, or an object of a git repository below the folder."""
    forms = spellings(secret)
    found = []
    for path in _files(folder):
        texts = [_read(path)]
        for unpack in (zlib.decompress, gzip.decompress):
            with suppress(OSError, zlib.error, EOFError):
                texts.append(unpack(texts[0]))
        if any(form in text for text in texts for form in forms):
            found.append(str(path.relative_to(folder)))
    for git_dir in folder.rglob(".git"):
        found += [f"{git_dir.parent.name}: {name}" for name in _packed(git_dir, forms)]
    return found


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        yield from (path for name in names if (path := Path(root) / name).is_file() and not path.is_symlink())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_BYTES)
    except OSError:
        return b""


def _packed(git_dir: Path, forms: set[bytes]) -> Iterator[str]:
    """Objects in packs; loose ones are files like any other."""
    if not any((git_dir / "objects" / "pack").glob("*.pack")):
        return
    command = ["git", "--git-dir", str(git_dir), "cat-file", "--batch-all-objects", "--batch"]
    said = subprocess.run(command, capture_output=True, timeout=60, check=False).stdout
    if any(form in said for form in forms):
        yield "a packed object"
