"""The warm process itself: python -P -s -B -m swarm.supervisor.zygote_server PRELOAD SOCKET

It imports PRELOAD once and forks a supervisor for each request; the supervisor forks the phases, which thus start with
everything imported. It stays single-threaded and ends when its parent does or when the code that it holds has changed.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from swarm.errors import SwarmError
from swarm.sandbox import ladder
from swarm.supervisor import child
from swarm.supervisor.run import supervise
from swarm.supervisor.spec import TrialSpec
from swarm.supervisor.warm import Preload, gather_memory, warm
from swarm.supervisor.zygote import FORKED, short_address

_IDLE_S = 0.25
_REQUEST_LIMIT_S = 2.0
_REFUSED = b"refused"
_LIBRARIES = ("torch", "torchvision", "numpy")


def main(arguments: list[str]) -> None:
    preload_name, socket_path = arguments[0], Path(arguments[1])
    owner = os.getppid()
    loaded = fingerprint(preload_name)  # before the import: a change during it makes the zygote stale
    preload = warm(preload_name)
    gather_memory()
    with _listen(socket_path) as listener:
        while os.getppid() == owner:
            _reap()
            with suppress(TimeoutError):
                connection = listener.accept()[0]
                with connection:
                    if fingerprint(preload_name) != loaded:
                        _stop_listening(socket_path)
                        connection.sendall(_REFUSED)
                        return
                    _serve(listener, connection, preload)
    _stop_listening(socket_path)


def fingerprint(preload: str) -> str:
    """Of all that a fork inherits: the preloaded package's code, this package's, and the versions of the libraries."""
    digest = hashlib.sha256()
    for path in (*_sources(preload), *_sources(__name__), *_sources(ladder.__name__)):
        digest.update(f"{path}\0".encode() + path.read_bytes() + b"\0")
    for name in _LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            digest.update(f"{name}={importlib.metadata.version(name)}\0".encode())
    return digest.hexdigest()


def _sources(module: str) -> Iterator[Path]:
    """Python files in the folder of a module, found without importing it."""
    top, *inner = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {top!r}")
    folder = Path(spec.origin).parent.joinpath(*inner[:-1])
    yield from sorted(folder.rglob("*.py")) if inner else (Path(spec.origin),)


def _listen(socket_path: Path) -> socket.socket:
    """The socket appears under its name only when connections are accepted on it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.settimeout(_IDLE_S)
    temporary = socket_path.with_name(f"{socket_path.name}.{os.getpid()}")
    old_mask = os.umask(0o177)
    try:
        with short_address(temporary) as address:
            listener.bind(address)
    finally:
        os.umask(old_mask)
    listener.listen(64)
    temporary.rename(socket_path)
    return listener


def _stop_listening(socket_path: Path) -> None:
    socket_path.unlink(missing_ok=True)


def _serve(listener: socket.socket, connection: socket.socket, preload: Preload) -> None:
    """One request. Raises what `assert_forkable` raises: an unfit zygote ends, and its owner starts another."""
    connection.settimeout(_REQUEST_LIMIT_S)
    descriptors: list[int] = []
    try:
        if not _is_trusted(connection):
            connection.sendall(_REFUSED)
            return
        message, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
        spec = TrialSpec.from_json(Path(os.fsdecode(message)).read_text())
    except (OSError, SwarmError):  # the launcher has gone or sent nonsense; it starts its trial in another way
        traceback.print_exc()
        _close(descriptors)
        return
    preload.assert_forkable()
    if os.fork() == 0:
        listener.close()
        connection.close()
        _become_supervisor(spec, descriptors[0] if descriptors else None)
    _close(descriptors)
    with suppress(OSError):  # it no longer waits, but finds the trial by its folder
        connection.sendall(FORKED)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _is_trusted(connection: socket.socket) -> bool:
    """Refuses a candidate: sandboxed processes cannot reach other files or hosts, but they can reach this socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, user = (int.from_bytes(credentials[start : start + 4], sys.byteorder) for start in (0, 4))
    confinement = _confinement(pid)
    return user == os.getuid() and confinement is not None and confinement <= (_confinement(os.getpid()) or (0, 0))


def _confinement(pid: int) -> tuple[int, int] | None:
    """(no_new_privs, number of seccomp filters) of a process; None when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    values = dict(line.split(":", 1) for line in lines)
    return int(values.get("NoNewPrivs", "0")), int(values.get("Seccomp_filters", "0"))


def _become_supervisor(spec: TrialSpec, lease_fd: int | None) -> NoReturn:
    """In the fork; its environment holds nothing but the allow-list already."""
    code = 1
    try:
        os.setsid()
        log = os.open(spec.trial_folder.supervisor_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        supervise(spec, lease_fd, lambda _: child.run_phase)
        code = 0
    finally:  # the border of the process: whatever happened, the zygote's loop is not this process's to go on with
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    main(sys.argv[1:])
