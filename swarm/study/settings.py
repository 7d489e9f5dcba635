"""What a study was started with, and where its files lie. Pure: paths are named here and opened elsewhere.

`swarm up` writes the settings as `.swarm/studies/<study_id>/settings.json`; a worker is started with that path and its
name, and nothing else. They hold no secret: keys stay in the environment of the processes that need them.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from swarm.records import Budget, Grading, TargetTerms
from swarm.target.objective import Objective
from swarm.trial.asked import Harness
from swarm.trial.config import Device
from swarm.trial.folder import TrialFolder

Sandbox = Literal["auto", "strict", "none"]
Memory = Literal["shared", "own", "off", "shuffled"]
Finals = Literal["auto", "off", "now"]
"""auto: slots are held for them at the end of the study. now: this run is for them alone."""
GpuMode = Literal["shared", "exclusive"]


class Layout(BaseModel):
    """The folders of one repository. Everything but the brain is below `.swarm/`, which git ignores."""

    model_config = ConfigDict(frozen=True)

    root: Path

    @property
    def brain(self) -> Path:
        return self.root / "swarm_brain.jsonl"

    @property
    def runtime(self) -> Path:
        return self.root / ".swarm"

    @property
    def orchestrator_lock(self) -> Path:
        return self.runtime / "orchestrator.lock"

    @property
    def orchestrator_record(self) -> Path:
        return self.runtime / "orchestrator.json"

    @property
    def zygote_socket(self) -> Path:
        """Where workers find the warm process. One a repository; the orchestrator's lock keeps a second one away."""
        return self.runtime / "zygote.sock"

    def study(self, study_id: str) -> Path:
        return self.runtime / "studies" / study_id

    def settings(self, study_id: str) -> Path:
        return self.study(study_id) / "settings.json"

    def control(self, study_id: str) -> Path:
        return self.study(study_id) / "control"

    def worker_log(self, study_id: str, agent_id: str) -> Path:
        return self.study(study_id) / f"{agent_id}.log"

    def trials(self, study_id: str) -> Path:
        return self.runtime / "trials" / study_id

    def trial(self, study_id: str, trial_id: str) -> TrialFolder:
        return TrialFolder(self.trials(study_id) / trial_id)

    def worktree(self, agent_id: str) -> Path:
        return self.runtime / "worktrees" / agent_id


class ProposerSettings(BaseModel):
    """Which arms a worker may use. `spec` is auto, embedded, model-based, tpe, openai[:MODEL[@URL]], cli:NAME or
    scripted:FILE."""

    model_config = ConfigDict(frozen=True)

    spec: str = "auto"
    model: str | None = None
    base_url: str | None = None
    max_usd: float | None = None
    max_tokens: int | None = None
    price_in: float | None = None  # USD per million tokens
    price_out: float | None = None
    others: tuple["ProposerSettings", ...] = ()  # more models beside the first, each an arm of its own


class RunSettings(BaseModel):
    """Everything that was decided before the first second: by the options, the target and the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study_id: str
    root: Path
    brain: Path
    target: str
    target_folder: str
    editable: str
    base_commit: str
    program_text: str
    device: Device
    cards: tuple[str, ...] = ()  # UUIDs that its trials may have; empty is any, as on a CPU
    gpu_mode: GpuMode = "shared"
    dataset: str
    data_dir: Path
    classes: int
    harness: Harness = "images"
    objective: Objective = Objective()
    budget: Budget
    memory_mib: int
    threads: int
    workers: int
    seed: int
    noise_replicates: int
    trials: int | None
    deadline_at: float | None
    proposers: dict[str, ProposerSettings]
    memory: Memory = "shared"
    memory_lot: float = 0.0  # share of the models' proposals that get another memory, to see whether it helps
    sandbox: Sandbox = "auto"
    early_stop: bool = False
    stop_at_plateau: bool = False  # the search ends where it gains no more, and the finals follow
    finals: Finals = "off"
    start_up: Literal["zygote", "spawn"] = "zygote"
    executor: str = "local"  # local, nodes[:PORT], ray[:ADDRESS] or slurm[:JOBS]
    harness_sha256: str
    terms: TargetTerms = TargetTerms()
    grading: Grading | None = None  # of a target that is not sealed
    prepared: Path | None = None  # what its [prepare] made, beside the files of each commit
    prepared_sha256: str = ""

    @property
    def layout(self) -> Layout:
        return Layout(root=self.root)

    @property
    def on_nodes(self) -> bool:
        """Whether its trials run elsewhere."""
        return self.executor != "local"
