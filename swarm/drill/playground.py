"""A throw-away repository, and `swarm` run in it as a person runs it: in processes of its own, and all of it ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from swarm.brain import Brain
from swarm.drill import target
from swarm.drill.finding import Fault
from swarm.errors import BrainError
from swarm.study.settings import Layout
from swarm.study.state import StudyState

_POLL_S = 0.05
_DEVICE = ("--target", target.NAME, "--data", "standin", "--device", "cpu")
_AUTHOR = {f"GIT_{role}_{part}": "drill" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}


class Playground:
    """One repository with the drill's target, a ledger of its own, and everything that runs in it."""

    def __init__(self, folder: Path, ends_by: float) -> None:
        self.folder = folder
        self.root = folder / "repo"
        self.layout = Layout(root=self.root)
        self.ends_by = ends_by
        self.runs: list[subprocess.Popen[bytes]] = []

    def make(self, *, tracked_brain: bool = False) -> None:
        files = {
            f"models/{target.NAME}/train.py": target.TRAIN,
            f"models/{target.NAME}/target.toml": target.target_toml(),
            "notes.txt": "mine\n",
        }
        if tracked_brain:
            files["swarm_brain.jsonl"] = ""
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text, encoding="utf-8")
        self.git("init", "-q")
        self.git("add", "--all")
        self.git("commit", "-q", "--no-verify", "-m", "start")

    def git(self, *arguments: str) -> str:
        """As the person's own git, with nobody's configuration. Raises Fault when it says no."""
        environment = {**os.environ, **_AUTHOR, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        command = ["git", "-C", str(self.root), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode != 0:
            raise Fault(f"git {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout

    def up(self, *arguments: str, **extra: str) -> "subprocess.Popen[bytes]":
        """`swarm up` in the background; what it says is added to a file beside the repository."""
        with (self.folder / "up.log").open("ab") as log:
            run = subprocess.Popen(
                [sys.executable, "-P", "-m", "swarm", "up", *_DEVICE, *arguments],
                cwd=self.root,
                env=self._environment(extra),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.runs.append(run)
        return run

    def _environment(self, extra: dict[str, str]) -> dict[str, str]:
        """The person's, without their models and keys, and with a ledger of our own."""
        ours = ("OPENAI_", "SWARM_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours) or name == "SWARM_CACHE"}
        return {**kept, "SWARM_GPU_DIR": str(self.folder / "ledger"), "NO_COLOR": "1", **extra}

    def study(self) -> StudyState:
        """As the brain is now. Raises Fault when there is no study in it."""
        try:
            study = Brain(self.layout.brain).snapshot().latest
        except BrainError as error:
            raise Fault(str(error)) from error
        if study is None:
            raise Fault(f"no study was opened: {self.last_words()}")
        return study

    def until(self, condition: Callable[[StudyState], bool], what: str, limit_s: float = 90.0) -> StudyState:
        """The first state of which it is so. Raises Fault at the limit, and when nothing runs that could change it."""
        deadline = min(time.monotonic() + limit_s, self.ends_by)
        while True:
            over = self.runs[-1].poll() is not None
            state = Brain(self.layout.brain).snapshot().latest
            if state is not None and condition(state):
                return state
            if over or time.monotonic() > deadline:
                how = f"`swarm up` ended before: {self.last_words()}" if over else f"not in {limit_s:.0f} s"
                raise Fault(f"{what}: {how}")
            time.sleep(_POLL_S)

    def finish(self, limit_s: float = 90.0) -> int:
        """The exit code of the latest `swarm up`. Raises Fault when it does not end."""
        try:
            return self.runs[-1].wait(max(0.1, min(limit_s, self.ends_by - time.monotonic())))
        except subprocess.TimeoutExpired:
            raise Fault(f"`swarm up` has not ended: {self.last_words()}") from None

    def last_words(self) -> str:
        try:
            lines = (self.folder / "up.log").read_text(errors="replace").strip().splitlines()
        except OSError:
            return "it said nothing"
        return lines[-1][:300] if lines else "it said nothing"

    def processes(self) -> list[psutil.Process]:
        """Every living process whose command line, folder or trial is in this playground."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def pids(self, words: str) -> list[int]:
        """Processes of ours with these words in their command line."""
        found = []
        for process in self.processes():
            with suppress(psutil.Error):
                if words in " ".join(process.cmdline()):
                    found.append(process.pid)
        return found

    def _is_ours(self, process: psutil.Process) -> bool:
        if process.pid == os.getpid():
            return False
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            seen = [*process.cmdline(), process.cwd(), process.environ().get("SWARM_TRIAL_DIR", "")]
        except psutil.Error:
            return False
        return any(text == str(self.root) or text.startswith(f"{self.root}/") for text in seen)

    def leases(self) -> list[Path]:
        return list((self.folder / "ledger").glob("*/leases/*.json"))

    def fingerprint(self) -> dict[str, str]:
        """What belongs to the person: branches and tags, HEAD, index, configuration, and the files of the tree."""
        refs = [line for line in self.git("for-each-ref").splitlines() if "refs/swarm/" not in line]
        facts = {"refs": "\n".join(refs)}
        for name in ("HEAD", "index", "config"):
            facts[name] = _digest(self.root / ".git" / name)
        for path in sorted(self.root.rglob("*")):
            parts = path.relative_to(self.root).parts
            if parts[0] not in (".git", ".swarm") and not parts[0].startswith("swarm_brain") and path.is_file():
                facts["/".join(parts)] = _digest(path)
        return facts

    def close(self) -> None:
        """End whatever runs here, twice over: a dying process may just have started another."""
        for run in self.runs:
            if run.poll() is None:
                run.kill()
                run.wait()
        for _ in range(2):
            for process in self.processes():
                with suppress(psutil.Error):
                    process.kill()


@contextmanager
def playground(folder: Path, ends_by: float, *, tracked_brain: bool = False) -> Iterator[Playground]:
    ground = Playground(folder, ends_by)
    try:
        ground.make(tracked_brain=tracked_brain)
        yield ground
    finally:
        ground.close()


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _digest(path: Path) -> str:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "missing"
