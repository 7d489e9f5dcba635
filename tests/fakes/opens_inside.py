"""Confines itself by a policy and says, for each path that it is told, whether it can be opened as it has to be.

    python opens_inside.py ORDER.json

ORDER: {"policy": fields of a SandboxPolicy, "without": rungs that are taken away, "folder": ..., "opens": [[access,
path], ...]}. The answer is one JSON object: path to "done" or the error's number.
"""

import ctypes
import json
import os
import sys
import threading
from pathlib import Path

from swarm.sandbox import SandboxPolicy, identity, ladder, landlock, namespaces, seccomp

FLAGS = {"r": os.O_RDONLY, "rw": os.O_RDWR, "w": os.O_RDWR}
THREAD = "<tid>"


def main(order_path: str) -> None:
    order = json.loads(Path(order_path).read_text())
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in order["policy"].items()}
    switch_off(order["without"])
    report = ladder.apply(SandboxPolicy(**fields), "auto", folder=order["folder"])
    outcome = {path: opened(access, path) for access, path in order["opens"]}
    held = [str(Path(f"/proc/self/fd/{name}").readlink()) for name in descriptors() if linked(name)]
    print(json.dumps({"level": report.level, "detail": report.detail, "outcome": outcome, "held": held}), flush=True)


def descriptors() -> list[str]:
    return [entry.name for entry in Path("/proc/self/fd").iterdir()]


def linked(descriptor: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{descriptor}")  # the listing's own is closed by now


def switch_off(rungs: list[str]) -> None:
    if "namespaces" in rungs:
        namespaces.available = lambda: False
    if "user" in rungs:
        identity.can_become = lambda user: False
    if "landlock" in rungs:
        landlock.abi = lambda: 0
    if "seccomp" in rungs:
        seccomp.available = lambda: False


def opened(access: str, path: str) -> str | int:
    if THREAD in path:
        return named(path)
    try:
        if not path.startswith("/proc") and access == "rw" and not Path(path).exists():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).touch()
        os.close(os.open(path, FLAGS[access]))
    except OSError as error:
        return error.errno or 0
    return "done"


def named(path: str) -> str | int:
    """As a driver names a thread that it has started: by the C library, and so through /proc."""
    stop, started = threading.Event(), threading.Event()
    number: list[int] = []

    def body() -> None:
        number.append(threading.get_native_id())
        started.set()
        stop.wait(10)

    thread = threading.Thread(target=body)
    thread.start()
    started.wait(10)
    try:
        code = ctypes.CDLL(None).pthread_setname_np(ctypes.c_ulong(thread.ident or 0), b"cuda-EvtHandlr")
        kept = Path(path.replace(THREAD, str(number[0]))).read_text().strip() == "cuda-EvtHandlr"
        return "done" if code == 0 and kept else code
    finally:
        stop.set()
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1])
