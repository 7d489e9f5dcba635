"""Runs on a person's own machine, sent there over SSH for each question: the pods of `swarm.pods.host`, as folders.

Standard library only. Standard input's first line was a JSON object, which the sender puts before this text as ASKED;
the answer is one JSON object on standard output, {"error": ...} where it cannot be done.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

OLDEST = (3, 11)
SECRETS = pathlib.Path("~/.config/swarm/secrets").expanduser()
LOG_BYTES = 1 << 18
GRACE_S = 12.0  # the entry script passes a SIGTERM on to the study, which is done within ten


class CannotError(Exception):
    """It cannot be done; the message says why."""


def written_down(home: pathlib.Path) -> Iterator[int]:
    """The watchdog and the entry script, which close themselves to their own user: neither their environment nor their
    folder can be read."""
    for name in ("watchdog.json", "entry.json"):
        try:
            fields = json.loads((home / name).read_text())
            stat = pathlib.Path(f"/proc/{fields['pid']}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except (OSError, ValueError, KeyError):
            continue
        if stat[0] != "Z" and int(stat[19]) == fields.get("pid_start"):
            yield fields["pid"]


def members(home: pathlib.Path) -> Iterator[int]:
    """Processes of the pod: written down, or by their environment, or by the folder that they work in."""
    yield from written_down(home)
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            said = b"SWARM_POD_HOME=" + os.fsencode(home) in (entry / "environ").read_bytes().split(b"\0")
            where = (entry / "cwd").readlink()
            ended = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if not ended and (said or where == home or home in where.parents):
            yield int(entry.name)


def described(home: pathlib.Path) -> "dict[str, object]":
    begun = json.loads((home / "pod.json").read_text())
    return {"name": home.name, "home": str(home), "created_at": begun["created_at"], "runs": any(members(home))}


def launch(home: pathlib.Path) -> None:
    begun = json.loads((home / "pod.json").read_text())
    environment = {**os.environ, **begun["env"], "SWARM_POD_HOME": str(home)}
    for name, secret in begun["secrets"].items():
        path = SECRETS / secret
        if not path.is_file():
            raise CannotError(f"there is no secret {secret}: put its value into {path} there (chmod 600)")
        environment[name] = path.read_text().strip()
    with (home / "main.log").open("ab") as log:
        subprocess.Popen(
            ["sh", "-c", begun["command"]],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def create(root: pathlib.Path, asked: "dict[str, object]") -> "dict[str, object]":
    home = root / str(asked["name"])
    if home.exists() or (root / ".ended" / home.name).exists():
        raise CannotError(f"{home} is there already")
    half = root / f".{home.name}.half"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True, mode=0o700)
    begun = {"created_at": time.time(), **{name: asked[name] for name in ("command", "env", "secrets")}}
    (half / "pod.json").write_text(json.dumps(begun))
    half.rename(home)
    launch(home)
    return described(home)


def end(home: pathlib.Path, grace_s: float) -> None:
    for pid in members(home):
        tell(pid, signal.SIGTERM if grace_s else signal.SIGKILL)
    until = time.monotonic() + grace_s
    while any(members(home)):
        if time.monotonic() >= until:
            for pid in members(home):
                tell(pid, signal.SIGKILL)
        time.sleep(0.1)


def tell(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        return


def answer(asked: "dict[str, object]") -> "dict[str, object]":
    if sys.version_info < OLDEST:
        raise CannotError(f"its python3 is {sys.version.split()[0]}, and 3.11 is needed")
    root = pathlib.Path(str(asked["root"]))
    root = root if root.is_absolute() else pathlib.Path.home() / root
    homes = sorted(path.parent for path in root.glob("swarm-*/pod.json"))
    home = next((home for home in homes if home.name == asked.get("name")), None)
    match asked["what"]:
        case "list":
            return {"pods": [described(home) for home in homes]}
        case "create":
            return {"pods": [create(root, asked)]}
        case "start" if home is not None and not any(members(home)):
            launch(home)
        case "stop" if home is not None:
            end(home, GRACE_S)
        case "terminate" if home is not None:
            end(home, 0.0)
            ended = root / ".ended"
            ended.mkdir(exist_ok=True)
            home.rename(ended / home.name)
        case "logs" if home is not None and (home / "main.log").exists():
            return {"log": (home / "main.log").read_bytes()[-LOG_BYTES:].decode(errors="replace")}
    return {}


def main(asked: "dict[str, object]") -> None:
    try:
        said = answer(asked)
    except (CannotError, OSError, ValueError, KeyError) as problem:
        said = {"error": f"{problem}"}
    print(json.dumps(said))
