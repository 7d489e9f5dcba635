"""A target's command run beside any study: for `swarm init`, which measures it, and `swarm target check`."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from swarm.admission import AdmissionController, default_root
from swarm.clock import SystemClock
from swarm.errors import TargetError
from swarm.execution.executor import MemoryEvidence, Outcome, Progress, TrialOrder
from swarm.execution.local import LocalExecutor
from swarm.gpu import CpuProbe
from swarm.records import Budget, Grading, TargetTerms
from swarm.repo import Repo
from swarm.repo.runtime import make_runtime
from swarm.study.settings import Layout, Sandbox
from swarm.trial.contract import harness_sha256
from swarm.trial.files import remove_tree
from swarm.trial.folder import TrialFolder

MOST_BYTES = 64 << 20
POLL_S = 0.05


@dataclass(frozen=True)
class Tried:
    """One run: how it ended, and what the command printed."""

    outcome: Outcome
    output: str


@dataclass(frozen=True)
class Trier:
    """Runs commands over these files, one after the other, on this machine's CPU."""

    files: Mapping[str, bytes]
    terms: TargetTerms
    budget: Budget
    memory_mib: int
    folder: Path
    sandbox: Sandbox = "auto"

    def run(self, name: str, grading: Grading, seed: int, extra: Mapping[str, bytes] | None = None) -> Tried:
        """`extra` files are added, or take the place of others."""
        admission = AdmissionController(default_root(), CpuProbe(), SystemClock())
        executor = LocalExecutor(self.folder, self.folder, admission, SystemClock())
        order = TrialOrder(
            study_id="trying",
            trial_id=name,
            agent_id="init",
            target="own",
            files={**self.files, **(extra or {})},
            editable=", ".join(self.terms.editable),
            terms=self.terms,
            grading=grading,
            seed=seed,
            budget=self.budget,
            device="cpu",
            threads=1,
            sandbox=self.sandbox,
            harness_sha256=harness_sha256(),
            memory=MemoryEvidence(profile_mib=self.memory_mib),
        )
        running = executor.submit(order)
        try:
            while isinstance(now := running.poll(), Progress):
                time.sleep(POLL_S)
        except BaseException:
            running.stop("stopped")
            while isinstance(running.poll(), Progress):
                time.sleep(POLL_S)
            raise
        folder = TrialFolder(self.folder / name)
        return Tried(now, "\n".join(map(folder.log_text, folder.logged_runs())))


@contextmanager
def scratch(repo: Repo) -> Iterator[Path]:
    """A folder for the trials; gone afterwards."""
    folder = make_runtime(Layout(root=repo.root)) / "trying"
    remove_tree(folder)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        remove_tree(folder)


def working_files(repo: Repo, folder: Path) -> dict[str, bytes]:
    """What of a folder git knows or would take, as it lies there now. Raises TargetError above MOST_BYTES."""
    listed = repo.git.fields("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", str(folder))
    found: dict[str, bytes] = {}
    for name in listed:
        path = repo.root / name
        if path.is_file() and not path.is_symlink():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    used = sum(map(len, found.values()))
    if used > MOST_BYTES:
        raise TargetError(
            f"{folder} holds {used >> 20} MiB that git would take, and each trial gets a copy; the limit is "
            f"{MOST_BYTES >> 20} MiB. Put data outside of the repository and name its path under read in [run]."
        )
    return found
