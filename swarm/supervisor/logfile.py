"""A phase's output in a file of bounded size, never in a pipe: nothing that a child prints can block it or us."""

import os
from pathlib import Path

_READ_BYTES = 64 * 1024
_REREADS = 3


class CappedLog:
    """The phase appends to the file; `trim`, called often, keeps its beginning and its end.

    Between two calls the file may exceed `limit_bytes` by what the phase wrote meanwhile. Bytes written during a trim
    may be lost: it is a log.
    """

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._limit = max(limit_bytes, 4096)
        self._dropped = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def fileno(self) -> int:
        return self._descriptor

    def trim(self) -> int:
        """Bytes dropped by this call; 0 when the file is within its limit."""
        size = os.fstat(self._descriptor).st_size
        if size <= self._limit:
            return 0
        head, tail = self._limit // 2, self._limit // 4
        end = os.pread(self._descriptor, tail, size - tail)
        for _ in range(_REREADS):  # a last line may just have come; a flood never stops coming
            if (grown := os.fstat(self._descriptor).st_size) == size:
                break
            size, end = grown, os.pread(self._descriptor, tail, grown - tail)
        dropped = size - head - len(end)
        self._dropped += dropped
        os.ftruncate(self._descriptor, head)
        os.write(self._descriptor, f"\n[... {self._dropped} bytes dropped ...]\n".encode() + end)
        return dropped

    def last_line(self) -> str:
        """The last line with anything in it, at most 300 characters; for the detail of a failure."""
        size = os.fstat(self._descriptor).st_size
        text = os.pread(self._descriptor, _READ_BYTES, max(size - _READ_BYTES, 0)).decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""

    def close(self) -> None:
        os.close(self._descriptor)
