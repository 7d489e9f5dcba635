"""A repository with a target that trains in a second, and studies run in it as a user runs them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from fakes.git_repository import GitRepository, make_repository

from swarm.brain import Brain
from swarm.study.state import StudyState

SWARM = str(Path(sys.executable).with_name("swarm"))

TRAIN = '''"""A linear model on small images: enough to see one program do better than another."""

import torch.nn.functional as F
from torch import Tensor, nn, optim

from swarm.harness import clock, data, device, finish

MAX_LR = 0.05  # search: log(1e-3, 1.0)
BATCH_SIZE = 64  # search: {32, 64, 128}
WEIGHT_DECAY = 1e-4  # search: log(1e-5, 1e-2)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(3 * 8 * 8, 100)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(F.avg_pool2d(images, 4).flatten(1))


def build_model() -> nn.Module:
    return Linear()


def main() -> None:
    train = data.train()
    model = build_model().to(device)
    optimizer = optim.SGD(model.parameters(), lr=MAX_LR, weight_decay=WEIGHT_DECAY)
    for images, labels in clock.batches(train, BATCH_SIZE, state=(model, optimizer)):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        clock.report(loss)
    finish(model)
'''

TARGET = """
name = "tiny"
description = "a linear model, for tests"
editable = ["train.py"]
classes = 100

[budget]
kind = "samples"

[profile.cpu]
budget = {samples}
walltime_limit_s = {walltime_limit_s}
memory_mib = 1200
threads = 1

[profile.gpu]
budget = {samples}
walltime_limit_s = {walltime_limit_s}
memory_mib = 1200
threads = 1
"""


@dataclass(frozen=True)
class TinyStudy:
    repo: GitRepository
    ledger: Path

    @property
    def root(self) -> Path:
        return self.repo.root

    @property
    def brain(self) -> Path:
        return self.root / "swarm_brain.jsonl"

    def environment(self, **extra: str) -> dict[str, str]:
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "SWARM_MODEL"))}
        return {**keep, "SWARM_GPU_DIR": str(self.ledger), "NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb", **extra}

    def swarm(self, *arguments: str, timeout: float = 300, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SWARM, *arguments],
            cwd=self.root,
            env=self.environment(**extra),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments: str, **extra: str) -> "subprocess.Popen[str]":
        """`swarm up` in the background; its output goes to a file beside the repository."""
        return self.spawn("up", "--target", "tiny", "--data", "standin", "--device", "cpu", *arguments, **extra)

    def spawn(self, *arguments: str, **extra: str) -> "subprocess.Popen[str]":
        """A command in the background; its output goes to a file beside the repository."""
        with (self.ledger.parent / "up.log").open("a") as log:
            return subprocess.Popen(
                [SWARM, *arguments],
                cwd=self.root,
                env=self.environment(**extra),
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def up(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return self.swarm("up", "--target", "tiny", "--data", "standin", "--device", "cpu", *arguments, **extra)

    def study(self) -> StudyState:
        study = Brain(self.brain).snapshot().latest
        assert study is not None
        return study

    def wait_for(self, condition: Callable[[StudyState], bool], timeout: float = 120) -> StudyState:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.brain.exists() and (state := Brain(self.brain).snapshot().latest) and condition(state):
                return state
            time.sleep(0.05)
        raise AssertionError(f"not reached in {timeout} s; brain: {self.brain.read_text()[-2000:]}")

    def processes(self) -> list[psutil.Process]:
        """Every process of this study, by its command line, its folder or the marker of its trials."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def pids(self, marker: str) -> list[int]:
        """Processes of this study with `marker` in their command line."""
        found = []
        for process in self.processes():
            with suppress(psutil.Error):  # it may have ended meanwhile
                if marker in " ".join(process.cmdline()):
                    found.append(process.pid)
        return found

    def held_leases(self) -> list[Path]:
        return [path for path in self.ledger.rglob("*") if path.parent.name == "leases" and path.suffix == ".json"]

    def _is_ours(self, process: psutil.Process) -> bool:
        if process.pid == os.getpid():
            return False
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            seen = [*process.cmdline(), process.cwd(), process.environ().get("SWARM_TRIAL_DIR", "")]
        except (psutil.Error, OSError):
            return False
        return any(text == str(self.root) or text.startswith(f"{self.root}/") for text in seen)


def make_tiny_study(
    folder: Path, *, samples: int = 3000, walltime_limit_s: float = 60, train: str = TRAIN
) -> TinyStudy:
    repo = make_repository(folder / "repo")
    repo.write("models/tiny/train.py", train)
    target = TARGET.replace("{samples}", str(samples)).replace("{walltime_limit_s}", str(walltime_limit_s))
    repo.write("models/tiny/target.toml", target)
    repo.write(".gitignore", ".swarm/\nswarm_brain.jsonl.lock\n")
    repo.commit("a tiny target")
    return TinyStudy(repo, folder / "ledger")


def write_script(path: Path, *lines: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@contextmanager
def stopped_at_the_end(process: "subprocess.Popen[str]") -> Iterator[None]:
    """A failing test must not leave a study behind."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
