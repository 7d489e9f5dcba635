"""A warm process to fork trials from: its owner's handle, and the request a launcher sends it.

The other end is `zygote_server`. A request is one message, the path of a trial's spec, with the lease's descriptor
beside it; the answer is one word.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from swarm.errors import TrialError
from swarm.supervisor.environment import INTERPRETER_FLAGS, allowed, import_path
from swarm.supervisor.tree import now

FORKED = b"forked"
_ANSWER_LIMIT_S = 20.0
_START_LIMIT_S = 120.0
_STOP_LIMIT_S = 5.0


class Zygote:
    """A zygote process that belongs to this one and ends with it. Trials forked from it do not end with it."""

    def __init__(self, preload: str, socket_path: Path, pythonpath: tuple[str, ...]) -> None:
        self._preload = preload
        self._pythonpath = pythonpath
        self.socket_path = socket_path
        self._process = self._spawn()

    @classmethod
    def start(
        cls,
        preload: str,
        socket_path: Path,
        *,
        pythonpath: tuple[str, ...] = (),
        wanted: Callable[[], bool] = lambda: True,
    ) -> "Zygote":
        """Starts it and waits until it takes requests: `preload` (a module's name) and all it imports are loaded.

        The module must have `assert_forkable()`, which raises when a fork would not be clean; it is called before
        each one. Raises TrialError when the module cannot be imported, this takes longer than 120 s, or the zygote is
        not `wanted` any more.
        """
        socket_path.parent.mkdir(parents=True, exist_ok=True)
        zygote = cls(preload, socket_path, pythonpath)
        zygote._wait_until_ready(wanted)
        return zygote

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        """Whether it still takes requests. It ends by itself when the code it holds has changed."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Ends it; running trials go on."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.socket_path.unlink(missing_ok=True)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        self.socket_path.unlink(missing_ok=True)
        server = [*INTERPRETER_FLAGS, "-m", "swarm.supervisor.zygote_server"]
        environment = allowed(os.environ)
        environment["PYTHONPATH"] = import_path(os.environ, self._pythonpath)
        with self._log_path().open("wb") as log:
            return subprocess.Popen(
                [sys.executable, *server, self._preload, str(self.socket_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def _wait_until_ready(self, wanted: Callable[[], bool]) -> None:
        deadline = now() + _START_LIMIT_S
        while not self.socket_path.exists():
            if self._process.poll() is not None or now() > deadline or not wanted():
                self.stop()
                words = self._log_path().read_text(errors="replace").strip().splitlines()
                raise TrialError(f"the zygote with {self._preload} did not start: {''.join(words[-1:])}")
            time.sleep(0.01)

    def _log_path(self) -> Path:
        return self.socket_path.with_suffix(".log")


def ask(socket_path: Path, spec_path: Path, lease_fd: int | None) -> bool:
    """Whether a zygote took the trial; False when there is none, or it is stale or unfit and has refused."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.settimeout(_ANSWER_LIMIT_S)
            with short_address(socket_path) as address:
                client.connect(address)
            descriptors = [lease_fd] if lease_fd is not None else []
            socket.send_fds(client, [os.fsencode(spec_path)], descriptors)
            return client.recv(64) == FORKED
    except OSError:
        return False


@contextmanager
def short_address(socket_path: Path) -> Iterator[str]:
    """A name for the socket that fits into the 107 bytes an address may have, however deep its folder lies."""
    folder = os.open(socket_path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{socket_path.name}"
    finally:
        with suppress(OSError):
            os.close(folder)
