"""Reading a file that others append to: each complete line once, without a lock."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from swarm.brain.lines import GENESIS, line_sha256
from swarm.errors import BrainError, BrainReplaced

_CHUNK_BYTES = 1 << 20
_ANCHOR_BYTES = 256


@dataclass(frozen=True, slots=True)
class RawLine:
    """`number` counts from 1; `raw` has no newline."""

    number: int
    raw: bytes


class Tail:
    """How far one file was read. Raises BrainReplaced when what was read is no longer there, and
    BrainError for what is no plain file: a pipe would wait for ever, and a device has no end.

    A file is the same one when the last bytes that were read are where they were: each line holds the hash of the line
    before it, so they stand for all that was read. Another inode with the same bytes is the brain that was put back.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        self.lines = 0
        self.last_sha256 = GENESIS
        self._identity: tuple[int, int] | None = None
        self._anchor = b""

    def changed(self) -> bool:
        """Whether there is something to read, torn bytes included. One system call."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return self._identity is not None
        return (found.st_dev, found.st_ino) != self._identity or found.st_size != self.offset

    def unread_bytes(self) -> int:
        """About as many as there are behind the last line read."""
        try:
            return max(0, self.path.stat().st_size - self.offset)
        except OSError:
            return 0

    def new_lines(self) -> Iterator[RawLine]:
        """The complete lines behind the last one read. A file that does not exist yet has none."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would wait for a writer
        except FileNotFoundError:
            if self._identity is not None:
                raise BrainReplaced(_gone(self.path, "was deleted")) from None
            return
        except OSError as problem:
            raise BrainError(f"cannot read {self.path}: {problem.strerror}") from problem
        try:
            yield from self.new_lines_of(fd)
        finally:
            os.close(fd)

    def new_lines_of(self, fd: int) -> Iterator[RawLine]:
        """The same from a descriptor of the file that is open already."""
        self._check_identity(fd)
        rest, position = b"", self.offset
        while chunk := os.pread(fd, _CHUNK_BYTES, position):
            position += len(chunk)
            *complete, rest = (rest + chunk).split(b"\n")
            for last in complete:
                self.lines += 1
                self.offset += len(last) + 1
                yield RawLine(self.lines, last)
            if complete:
                self._remember(complete[-1])

    def _remember(self, last: bytes) -> None:
        self.last_sha256 = line_sha256(last)
        self._anchor = (last + b"\n")[-_ANCHOR_BYTES:]

    def _check_identity(self, fd: int) -> None:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise BrainError(f"{self.path} is a folder, a pipe or a device: a brain is a plain file; name another")
        identity = (found.st_dev, found.st_ino)
        other = self._identity is not None and identity != self._identity
        if found.st_size < self.offset:
            what = f"shrank from {self.offset} to {found.st_size} bytes"
            raise BrainReplaced(_gone(self.path, "was replaced by another file" if other else what))
        if os.pread(fd, len(self._anchor), self.offset - len(self._anchor)) != self._anchor:
            what = f"was rewritten before byte {self.offset}"
            raise BrainReplaced(_gone(self.path, "was replaced by another file" if other else what))
        self._identity = identity


def _gone(path: Path, what: str) -> str:
    return f"{path} {what} while it was in use. Stop the swarm, put the right file back and start again."
