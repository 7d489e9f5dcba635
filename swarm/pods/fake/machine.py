"""What a fake pod runs on: a folder of its own, an environment of its own, and one process tree."""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import psutil  # type: ignore[import-untyped]

import swarm
from swarm.errors import PodError
from swarm.pods.order import HOME_VARIABLE

END_S, WIPE_S = 20.0, 10.0
_SECRET = re.compile(r"\{\{ *RUNPOD_SECRET_(\w+) *\}\}")
_PASSED_ON = ("SWARM_GPU_DIR", "LANG", "TZ")  # one machine has one ledger of its devices


class Machine(Protocol):
    def start(self, pod_id: str, args: str, env: Mapping[str, str]) -> None: ...

    def runs(self, pod_id: str) -> bool: ...

    def end(self, pod_id: str) -> None: ...

    def wipe(self, pod_id: str) -> None:
        """Its disk is gone."""

    def log(self, pod_id: str) -> str: ...


class LocalMachine:
    """Pods below `root`, each `root/ID/workspace/swarm` with what it wrote in `root/ID.log`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ending = threading.Lock()

    def home(self, pod_id: str) -> Path:
        return self._root / pod_id / "workspace" / "swarm"

    def start(self, pod_id: str, args: str, env: Mapping[str, str]) -> None:
        home = self.home(pod_id)
        own, scratch = self._root / pod_id / "home", self._root / pod_id / "tmp"
        for folder in (home, own, scratch):
            folder.mkdir(parents=True, exist_ok=True)
        environment = {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
            "PYTHONPATH": str(Path(swarm.__file__).parents[1]),
            "HOME": str(own),
            "TMPDIR": str(scratch),
            HOME_VARIABLE: str(home),
            **{name: self._with_secrets(value) for name, value in env.items()},
        }
        with self._log(pod_id).open("ab") as log:
            self._processes[pod_id] = subprocess.Popen(
                [sys.executable, "-m", "swarm.pods.fake.init", *shlex.split(args)],
                cwd=home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def runs(self, pod_id: str) -> bool:
        process = self._processes.get(pod_id)
        return process is not None and process.poll() is None

    def end(self, pod_id: str) -> None:
        with self._ending:  # who asks second waits as well: it may wipe the disk next
            process = self._processes.pop(pod_id, None)
            if process is None:
                return
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(psutil.NoSuchProcess):
                    for below in psutil.Process(process.pid).children(recursive=True):
                        with contextlib.suppress(psutil.NoSuchProcess):
                            below.kill()
                process.kill()
                process.wait(END_S)

    def wipe(self, pod_id: str) -> None:
        """Again while something is written there: what was killed may not be gone yet."""
        folder, ends_at = self._root / pod_id, time.monotonic() + WIPE_S
        while folder.exists() and time.monotonic() < ends_at:
            shutil.rmtree(folder, ignore_errors=True)
            time.sleep(0.02)

    def log(self, pod_id: str) -> str:
        try:
            return self._log(pod_id).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def _log(self, pod_id: str) -> Path:
        return self._root / f"{pod_id}.log"

    def _with_secrets(self, value: str) -> str:
        """From `secrets.json` beside the pods: the fake's own store, as the provider has one."""
        secrets: dict[str, str] = {}
        with contextlib.suppress(FileNotFoundError):
            secrets = json.loads((self._root / "secrets.json").read_text(encoding="utf-8"))

        def secret(found: re.Match[str]) -> str:
            if found[1] not in secrets:
                raise PodError(f"the fake has no secret {found[1]!r}: write it into {self._root / 'secrets.json'}")
            return secrets[found[1]]

        return _SECRET.sub(secret, value)
