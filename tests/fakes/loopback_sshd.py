"""A real sshd on loopback, with a host key, a user's key and a configuration of its own."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

import pytest

CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin yes
SetEnv {environment}
"""


@dataclass(frozen=True)
class Sshd:
    port: int
    folder: Path

    @property
    def host(self) -> str:
        return f"{getuser()}@127.0.0.1:{self.port}"

    @property
    def identity(self) -> Path:
        return self.folder / "user_key"

    @property
    def host_key(self) -> str:
        """TYPE BASE64."""
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    @property
    def known_hosts(self) -> Path:
        path = self.folder / "known_hosts"
        path.write_text(f"[127.0.0.1]:{self.port} {self.host_key}\n")
        return path


def make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, timeout=20)


@contextmanager
def loopback_sshd(folder: Path, **environment: str) -> Iterator[Sshd]:
    """Logins find `environment` set. Skips the test where this machine has no sshd."""
    binary = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if binary is None:
        pytest.skip("there is no sshd on this machine (Debian: openssh-server), so the host over SSH is not verified")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        sshd = Sshd(free.getsockname()[1], folder)
    make_key(folder / "host_key")
    make_key(sshd.identity)
    shutil.copyfile(folder / "user_key.pub", folder / "authorized_keys")
    said = " ".join(f'"{name}={value}"' for name, value in environment.items())
    (folder / "config").write_text(CONFIG.format(port=sshd.port, folder=folder, environment=said or "A=b"))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd locks up its unprivileged half
    process = subprocess.Popen([binary, "-D", "-f", str(folder / "config"), "-E", str(folder / "log")])
    try:
        _await(sshd.port, process, folder / "log")
        yield sshd
    finally:
        process.terminate()
        process.wait(20)


def _await(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"sshd did not begin: {log.read_text() if log.exists() else ''}")
