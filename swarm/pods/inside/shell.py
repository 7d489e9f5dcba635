"""The way in for the renter: an sshd of the pod's own, where the image has one and the provider has given a key.

Its host key is made here, and the public half is the first thing that the pod says: the renter reads it through the
provider's own log, which nobody else can write, and accepts no other.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping

from swarm.pods.inside.home import Home

ANNOUNCED = "SWARM_HOST_KEY "
_LIMIT_S = 20.0
_CONFIG = """\
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
AllowAgentForwarding no
AllowTcpForwarding no
X11Forwarding no
"""


def open_shell(home: Home, environment: Mapping[str, str]) -> None:
    """Nothing happens without PUBLIC_KEY or an sshd; whatever fails is a line in the log, since a study needs none."""
    sshd, keygen, public = shutil.which("sshd", path=_path()), shutil.which("ssh-keygen"), environment.get("PUBLIC_KEY")
    if not public or sshd is None or keygen is None:
        return
    folder = home.root / "ssh"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if not (folder / "host_key").exists():
            words = [keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host_key")]
            subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT_S, check=True)
        (folder / "authorized_keys").write_text(public.strip() + "\n", encoding="utf-8")
        port = environment.get("SWARM_POD_SSH_PORT", "22")
        (folder / "config").write_text(_CONFIG.format(folder=folder, port=int(port)), encoding="utf-8")
        started = subprocess.run(
            [sshd, "-f", str(folder / "config"), "-E", str(folder / "log")],
            env={"PATH": _path()}, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT_S, check=False,
        )  # fmt: skip
        key = " ".join((folder / "host_key.pub").read_text(encoding="utf-8").split()[:2])
    except (OSError, ValueError, subprocess.SubprocessError) as problem:
        home.say("entry", f"no sshd: {problem}")
        return
    print(f"{ANNOUNCED}{key}", flush=True)
    home.say("entry", f"{ANNOUNCED}{key} (sshd ended its start with {started.returncode})")


def _path() -> str:
    return os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
