"""Signatures by SSH keys, made and checked by `ssh-keygen -Y`. Who is believed stands in a list of one's own, one swarm
a line, as `man ssh-keygen` says of allowed signers:

    NAME namespaces="swarm-finding" ssh-ed25519 AAAA...
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from swarm.errors import ShareError

NAMESPACE = "swarm-finding"
LIMIT_S = 20.0
MAX_SIGNATURE_BYTES = 8 * 1024


def accepted_signers() -> Path:
    """The list, unless a command names another."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "swarm" / "accepted_signers"


def sign(body: bytes, key: Path) -> bytes:
    """Raises ShareError where the key does not sign."""
    if not key.is_file():
        raise ShareError(f"there is no key {key}: make one with ssh-keygen -t ed25519, or name another with --key")
    with tempfile.TemporaryDirectory(prefix="swarm-sign-") as folder:
        file = Path(folder) / "finding"
        file.write_bytes(body)
        _ssh_keygen(["-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE, str(file)])
        return file.with_suffix(".sig").read_bytes()


def is_signed(body: bytes, signature: bytes, swarm: str, accepted: Path) -> bool:
    """Whether `swarm` has signed this, by a key that the list has for it."""
    if not 0 < len(signature) <= MAX_SIGNATURE_BYTES or not accepted.is_file():
        return False
    with tempfile.TemporaryDirectory(prefix="swarm-sign-") as folder:
        file = Path(folder) / "sig"
        file.write_bytes(signature)
        command = ["-Y", "verify", "-f", str(accepted), "-I", swarm, "-n", NAMESPACE, "-s", str(file)]
        try:
            _ssh_keygen(command, body)
        except ShareError:
            return False
    return True


def _ssh_keygen(arguments: list[str], stdin: bytes = b"") -> None:
    binary = shutil.which("ssh-keygen")
    if binary is None:
        raise ShareError("ssh-keygen is not on the PATH: install OpenSSH 8.2 or later")
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(Path.home()), "LC_ALL": "C"}
    environment |= {name: value for name in ("SSH_AUTH_SOCK",) if (value := os.environ.get(name))}
    try:
        done = subprocess.run(
            [binary, *arguments], input=stdin, env=environment, capture_output=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        said = f"ssh-keygen did not end within {LIMIT_S:.0f} s: a key with a passphrase needs an agent"
        raise ShareError(said) from None
    if done.returncode != 0:
        raise ShareError(f"ssh-keygen: {done.stderr.decode(errors='replace').strip()[:300]}")
