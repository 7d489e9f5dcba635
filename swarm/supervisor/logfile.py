"""A phase's output: it writes into a socket, and the supervisor keeps its beginning and its end in a file.

The file is the supervisor's. A candidate can neither take back what it has said nor read what others said; and since
the supervisor takes what comes as soon as it comes, a flood costs the flooder's time only.
"""

import os
import socket
from pathlib import Path

from swarm.supervisor.channel import wake_on

_READ_BYTES = 64 * 1024
_AT_ONCE = 8 * 1024 * 1024
_BUFFER_BYTES = 1024 * 1024


class CappedLog:
    """`take`, called often, moves what was said into the file and keeps that within `limit_bytes`."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._limit = max(limit_bytes, 4096)
        self._dropped = 0
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._ours.setblocking(False)
        self._theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        wake_on(self._ours.fileno())

    def fileno(self) -> int:
        """The phase's end: its standard output and error."""
        return self._theirs.fileno()

    def take(self) -> bool:
        """Whether there is more to take at once."""
        taken = 0
        while taken < _AT_ONCE:
            try:
                data = self._ours.recv(_READ_BYTES)
            except OSError:
                break
            if not data:
                break
            taken += len(data)
            os.write(self._file, data)
            self._trim()
        return taken >= _AT_ONCE

    def last_line(self) -> str:
        """The last line with anything in it, at most 300 characters; for the detail of a failure."""
        size = os.fstat(self._file).st_size
        text = os.pread(self._file, _READ_BYTES, max(size - _READ_BYTES, 0)).decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()
        os.close(self._file)

    def _trim(self) -> None:
        size = os.fstat(self._file).st_size
        if size <= self._limit:
            return
        head, tail = self._limit // 2, self._limit // 4
        end = os.pread(self._file, tail, size - tail)
        self._dropped += size - head - len(end)
        os.ftruncate(self._file, head)
        os.write(self._file, f"\n[... {self._dropped} bytes dropped ...]\n".encode() + end)
