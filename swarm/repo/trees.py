"""Files of a commit as raw bytes: no filter, no line-end conversion, nothing of .gitattributes applies."""

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from swarm.errors import RepoError
from swarm.repo.git import Git

_EXECUTABLE, _SYMLINK, _SUBMODULE = "100755", "120000", "160000"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a commit; `path` is relative to the repository."""

    mode: str
    oid: str
    path: str

    @property
    def is_plain(self) -> bool:
        return self.mode not in (_SYMLINK, _SUBMODULE)


def list_tree(git: Git, commit: str, prefix: str) -> list[Entry]:
    """All files below `prefix` (a folder, a file, or "." for all), in git's order."""
    paths = [] if prefix in ("", ".") else [str(PurePosixPath(prefix))]
    entries = []
    for line in git.fields("ls-tree", "-r", "-z", "--full-tree", commit, "--", *paths):
        meta, path = line.split("\t", 1)
        mode, _, oid = meta.split(" ")
        entries.append(Entry(mode, oid, path))
    return entries


def read_blobs(git: Git, entries: Sequence[Entry]) -> list[bytes]:
    output = git("cat-file", "--batch", stdin="".join(f"{entry.oid}\n" for entry in entries).encode())
    contents, at = [], 0
    for entry in entries:
        head_end = output.index(b"\n", at)
        header = output[at:head_end].split(b" ")
        if header[1:2] != [b"blob"]:
            raise RepoError(f"the object of {entry.path} is not readable: {output[at:head_end].decode()}")
        start = head_end + 1
        at = start + int(header[2]) + 1
        contents.append(output[start : at - 1])
    return contents


def read_files(git: Git, entries: Sequence[Entry], prefix: str) -> dict[str, bytes]:
    """Contents by path relative to `prefix`. Submodules are left out.

    Raises RepoError for a symbolic link, which could lead out of a folder, and for a path that would.
    """
    files = [entry for entry in entries if entry.mode != _SUBMODULE]
    paths = [PurePosixPath(entry.path).relative_to(prefix) for entry in files]
    for entry, path in zip(files, paths, strict=True):
        if entry.mode == _SYMLINK:
            raise RepoError(
                f"{entry.path} is a symbolic link: a trial's folder holds plain files, so commit its content"
            )
        if not path.parts or any(part in ("..", ".git") for part in path.parts):
            raise RepoError(f"{entry.path!r} cannot be written into a folder of its own")
    return dict(zip(map(str, paths), read_blobs(git, files), strict=True))


def read_texts(git: Git, commit: str, prefix: str, wanted: Callable[[str], bool]) -> dict[str, str]:
    """Texts of the plain files below `prefix` that are wanted, by their paths relative to it. Raises RepoError for one
    that is not UTF-8."""
    found = {str(PurePosixPath(entry.path).relative_to(prefix)): entry for entry in list_tree(git, commit, prefix)}
    chosen = {path: entry for path, entry in found.items() if entry.is_plain and wanted(path)}
    contents = read_blobs(git, list(chosen.values()))
    try:
        return {path: content.decode() for path, content in zip(chosen, contents, strict=True)}
    except UnicodeDecodeError as error:
        raise RepoError(f"a file below {prefix} in {commit} is not UTF-8 text: {error}") from error


def write_files(git: Git, entries: Sequence[Entry], dest: Path) -> None:
    """Writes the entries below the empty folder `dest`, as `read_files` gets them."""
    modes = {entry.path: 0o755 if entry.mode == _EXECUTABLE else 0o644 for entry in entries}
    for path, content in read_files(git, entries, "").items():
        file = dest / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, modes[path]), "wb") as stream:
            stream.write(content)


def matches(file: Path, entry: Entry) -> bool:
    """Has the file on disk the entry's content? Submodules are not looked at."""
    if entry.mode == _SUBMODULE:
        return True
    try:
        is_link = stat.S_ISLNK(file.lstat().st_mode)
        if is_link != (entry.mode == _SYMLINK):
            return False
        content = os.fsencode(file.readlink()) if is_link else file.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
    digest = hashlib.sha256 if len(entry.oid) == 64 else hashlib.sha1
    return digest(b"blob %d\0" % len(content) + content).hexdigest() == entry.oid
