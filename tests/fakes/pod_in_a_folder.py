"""A pod that is a folder of this machine: the entry script really runs in it, with a study of a tiny target."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from fakes.tiny_study import TinyStudy

from swarm.pods.inside.home import read_json
from swarm.pods.inside.seed import start_of
from swarm.pods.order import Source, StudyOrder

CODE = Path(__file__).parents[2]
CANARY = "rpa_canary_7f3e91c2"


@dataclass
class FolderPod:
    """`order` is what it is told; `api` the address of its provider, if it has one."""

    home: Path
    order: StudyOrder
    api: str | None = None

    def environment(self, ledger: Path) -> dict[str, str]:
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "SWARM_MODEL"))}
        rented = {"RUNPOD_API_KEY": CANARY, "RUNPOD_POD_ID": "pod1"} if self.api else {}
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        return {
            **{**keep, **rented, "PATH": path, "PYTHONPATH": str(CODE), "SWARM_GPU_DIR": str(ledger)},
            **{"SWARM_POD_HOME": str(self.home), "SWARM_RUNPOD_BASE_URL": self.api or ""},
        }

    def start(self, ledger: Path) -> "subprocess.Popen[bytes]":
        """As a provider would: the order's command in the order's environment."""
        start = start_of(self.order.model_dump_json())
        self.home.parent.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            ["sh", "-c", start.command],
            cwd=self.home.parent,
            env={**self.environment(ledger), **start.env},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def put_bundle(self, bundle: Path) -> None:
        folder = self.home / "in"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle, folder / "half")
        (folder / "half").replace(folder / "study.bundle")

    def state(self) -> dict[str, object]:
        return read_json(self.home / "state.json")

    def pid(self, name: str, key: str = "pid") -> int:
        """Of `entry` or `watchdog`, or with the key `up` of the study."""
        pid = read_json(self.home / f"{name}.json").get(key)
        assert isinstance(pid, int)
        return pid

    def wait_for(self, condition: Callable[[], bool], limit_s: float = 60) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                logs = "\n".join(path.read_text()[-1500:] for path in (self.home / "log").glob("*.log"))
                raise AssertionError(f"not reached in {limit_s} s; state {self.state()}\n{logs}")
            time.sleep(0.05)

    def processes(self) -> list[psutil.Process]:
        """Of this pod: by their command line, folder or environment."""
        return [process for process in psutil.process_iter() if self._has(process)]

    def _has(self, process: psutil.Process) -> bool:
        if process.pid == os.getpid():
            return False
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            seen = [*process.cmdline(), process.cwd(), process.environ().get("SWARM_POD_HOME", "")]
        except (psutil.Error, OSError):
            return False
        return any(text == str(self.home) or text.startswith(f"{self.home}/") for text in seen)


def bundle_of(tiny: TinyStudy, path: Path) -> Source:
    """The tiny repository as a bundle, and the source that an order names."""
    tiny.repo.git("bundle", "create", str(path), "HEAD", "main")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Source(kind="bundle", commit=tiny.repo.git("rev-parse", "HEAD"), sha256=digest)


def order_for(source: Source, *up: str, now: float, **changes: object) -> StudyOrder:
    words = ("--target", "tiny", "--data", "standin", "--device", "cpu", *up)
    fields = {"pod_name": "swarm-test", "source": source, "up": words, "issued_at": now}
    rest = {"deadline_at": now + 60, "lifetime_s": 60, "price_usd_h": 0.5, "max_usd": 1, "collect_wait_s": 0}
    return StudyOrder.model_validate({**fields, **rest, **changes})
