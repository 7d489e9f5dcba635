"""A pod's files over SSH, by the system's own ssh. The host key is known before the first byte, or nothing is said.

Options that decide what is trusted stand on the command line, where they outrank a person's ~/.ssh/config; what that
says of addresses, jumps and identities holds.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from swarm.errors import PodError
from swarm.pods.inside.shell import ANNOUNCED
from swarm.pods.order import REPO
from swarm.pods.provider import SshAddress
from swarm.pods.reach import OutOfReach
from swarm.records import block

CALL_LIMIT_S = 60.0
PUT_LIMIT_S = 600.0
MAX_FILE_BYTES = 256 * 2**20
_SSH_FAILED = 255
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:%-]*")
_KEY = re.compile(re.escape(ANNOUNCED) + r"((?:ssh|ecdsa|sk)[a-z0-9@.-]+) ([A-Za-z0-9+/]+={0,2})")
_TRUSTED_ONLY = (
    *("StrictHostKeyChecking=yes", "UpdateHostKeys=no", "CheckHostIP=no", "VerifyHostKeyDNS=no"),
    *("BatchMode=yes", "PasswordAuthentication=no", "KbdInteractiveAuthentication=no"),
    *("ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes", "PermitLocalCommand=no", "RequestTTY=no"),
    *("ConnectTimeout=15", "ServerAliveInterval=10", "ServerAliveCountMax=3", "LogLevel=ERROR"),
)


class UnknownHostKey(PodError):
    """The machine shows a key that is not the one that is known for it, or none is known."""


def announced_key(log: Iterable[str]) -> str | None:
    """TYPE BASE64 of the host key that a pod's main process has said it has, by its provider's log."""
    found = (_KEY.search(line) for line in log)
    return next((f"{key[1]} {key[2]}" for key in found if key is not None), None)


def pin(known_hosts: Path, address: SshAddress, key: str) -> None:
    """From now on this address has this key and no other. Raises UnknownHostKey when it had another one before."""
    line = f"{_in_known_hosts(address)} {key}\n"
    if known_hosts.exists() and known_hosts.read_text(encoding="utf-8") != line:
        raise UnknownHostKey(
            f"{address.host}:{address.port} had another key before ({known_hosts}). If the pod was made anew, delete "
            "that file; if not, somebody stands between you and it."
        )
    known_hosts.parent.mkdir(parents=True, exist_ok=True)
    draft = known_hosts.with_name(f"{known_hosts.name}.new")
    draft.write_text(line, encoding="utf-8")
    draft.replace(known_hosts)


class Ssh:
    """Commands on one machine. `known_hosts` None: the person's own list."""

    def __init__(self, address: SshAddress, known_hosts: Path | None = None, identity: Path | None = None) -> None:
        for word in (address.host, address.user):
            if not _NAME.fullmatch(word):
                raise PodError(f"{word!r} is no name of a machine or user")
        self.address = address
        options = list(_TRUSTED_ONLY)
        if known_hosts is not None:
            options += [f"UserKnownHostsFile={_quoted(known_hosts)}", "GlobalKnownHostsFile=/dev/null"]
        if identity is not None:
            options += [f"IdentityFile={_quoted(identity)}", "IdentitiesOnly=yes"]
        self._command = [_ssh_binary(), "-a", "-x", "-T", *(word for option in options for word in ("-o", option))]

    def call(
        self, command: str, *, stdin: Path | bytes = b"", limit_bytes: int = 1 << 20, limit_s: float = CALL_LIMIT_S
    ) -> bytes:
        """Standard output of a shell command there, at most `limit_bytes` of it. Raises OutOfReach, UnknownHostKey, and
        PodError for an exit code other than 0."""
        with _opened(stdin) as source:
            process = subprocess.Popen(
                [*self._command, "-p", str(self.address.port), "--", self._there, command],
                stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
            said, words = _bounded(process, stdin if isinstance(stdin, bytes) else None, limit_bytes, limit_s)
        if process.returncode == _SSH_FAILED:
            raise self._failure(words)
        if process.returncode != 0 and len(said) < limit_bytes:
            raise PodError(f"{self._there}: {command[:80]!r} ended with {process.returncode}: {words[-300:]}")
        return said[:limit_bytes]

    def git_environment(self) -> dict[str, str]:
        """With which git reaches this machine under the same rules."""
        agent = {name: os.environ[name] for name in ("SSH_AUTH_SOCK", "HOME") if name in os.environ}
        return {**agent, "GIT_SSH_COMMAND": shlex.join(self._command), "GIT_SSH_VARIANT": "ssh"}

    def shell(self) -> list[str]:
        """For a person: the same rules, with a terminal."""
        words = [word for word in self._command if word not in ("-T",)]
        return [*words, "-t", "-o", "RequestTTY=yes", "-p", str(self.address.port), "--", self._there]

    @property
    def _there(self) -> str:
        return f"{self.address.user}@{self.address.host}"

    def _failure(self, words: str) -> PodError:
        where = f"{self._there} port {self.address.port}"
        if "host key" in words.lower():
            scan = f"ssh-keyscan -p {self.address.port} {self.address.host} | ssh-keygen -lf -"
            return UnknownHostKey(
                f"{where} shows a host key that is not known for it, so nothing was sent. Compare {scan} with what the "
                "machine itself says (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub); if they agree, ssh there once "
                "by hand and accept it."
            )
        return OutOfReach(f"{where} cannot be reached: {' '.join(words.split())[-300:] or 'ssh gave no reason'}")


class SshReach:
    """A pod whose home is a folder of a machine with an sshd."""

    def __init__(self, address: SshAddress, home: str, known_hosts: Path | None, identity: Path | None = None) -> None:
        if not home.startswith("/"):
            raise PodError(f"the home of a pod is an absolute path, not {home!r}")
        self._ssh = Ssh(address, known_hosts, identity)
        self._home = PurePosixPath(home)

    def put(self, local: Path, name: str) -> None:
        target = self._path(name)
        half = shlex.quote(f"{target}.half")
        folder = shlex.quote(str(target.parent))
        words = f"mkdir -p {folder} && cat > {half} && mv -f {half} {shlex.quote(str(target))}"
        self._ssh.call(words, stdin=local, limit_s=PUT_LIMIT_S)

    def get(self, name: str, local: Path) -> bool:
        path = shlex.quote(str(self._path(name)))
        said = self._ssh.call(
            f"if [ -f {path} ]; then echo 1; cat {path}; fi", limit_bytes=MAX_FILE_BYTES + 3, limit_s=PUT_LIMIT_S
        )
        if not said:
            return False
        if len(said) > MAX_FILE_BYTES:
            raise PodError(f"{name} is over {MAX_FILE_BYTES} bytes, so it is not fetched")
        half = local.with_name(local.name + ".half")
        half.write_bytes(said[2:])
        half.replace(local)
        return True

    def read(self, name: str, start: int = 0, limit: int = 1 << 20) -> bytes:
        path = shlex.quote(str(self._path(name)))
        words = f"if [ -f {path} ]; then tail -c +{start + 1} {path} | head -c {limit}; fi"
        return self._ssh.call(words, limit_bytes=limit)

    def git(self) -> tuple[str, dict[str, str]]:
        address = self._ssh.address
        path = self._home / REPO
        return f"ssh://{address.user}@{address.host}:{address.port}{path}", self._ssh.git_environment()

    def shell(self) -> list[str]:
        """The command that opens a shell in the pod's home."""
        return [*self._ssh.shell(), f"cd {shlex.quote(str(self._home))} && exec ${{SHELL:-sh}} -i"]

    def _path(self, name: str) -> PurePosixPath:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise PodError(f"{name!r} leads out of the pod's home")
        return self._home / path


def _in_known_hosts(address: SshAddress) -> str:
    return address.host if address.port == 22 else f"[{address.host}]:{address.port}"


def _ssh_binary() -> str:
    path = shutil.which("ssh")
    if path is None:
        raise PodError("ssh is not on the PATH: install an OpenSSH client")
    return path


def _quoted(path: Path) -> str:
    return f'"{path.absolute()}"'


class _opened:  # noqa: N801 - used as a function
    """The descriptor that a command reads from."""

    def __init__(self, stdin: Path | bytes) -> None:
        self._file = stdin.open("rb") if isinstance(stdin, Path) else None

    def __enter__(self) -> int:
        return self._file.fileno() if self._file is not None else subprocess.PIPE

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def _bounded(
    process: "subprocess.Popen[bytes]", given: bytes | None, limit_bytes: int, limit_s: float
) -> tuple[bytes, str]:
    """Standard output up to one byte above the limit, and the end of standard error. What says more or takes longer is
    killed."""
    import threading

    said, words = bytearray(), bytearray()

    def drain(pipe: object, into: bytearray, limit: int) -> None:
        read = pipe.read1  # type: ignore[attr-defined] # a buffered pipe of Popen
        while piece := read(1 << 16):
            into += piece
            if len(into) > limit:
                _kill(process)
                return

    def feed() -> None:
        with suppress(OSError):
            assert process.stdin is not None
            process.stdin.write(given or b"")
            process.stdin.close()

    threads = [
        threading.Thread(target=drain, args=(process.stdout, said, limit_bytes), daemon=True),
        threading.Thread(target=drain, args=(process.stderr, words, 1 << 16), daemon=True),
        *([threading.Thread(target=feed, daemon=True)] if given is not None else []),
    ]
    for thread in threads:
        thread.start()
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        _kill(process)
        process.wait()
        raise OutOfReach(f"no answer within {limit_s:.0f} s over ssh") from None
    finally:
        _kill(process)
        for thread in threads:
            thread.join(5)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
    return bytes(said), block(words.decode(errors="replace"))


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
