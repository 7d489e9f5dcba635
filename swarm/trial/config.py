"""What one trial is told: `harness.json`, written by the executor, read by every phase."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from swarm.trial.asked import Harness
from swarm.trial.folder import TrialFolder

BudgetKind = Literal["samples", "seconds", "solo_seconds"]
Device = Literal["cpu", "cuda"]
Split = Literal["val", "test"]


@dataclass(frozen=True)
class WorkBudget:
    """How much a training may do. `amount` is images, or windows of text, for `samples`, otherwise seconds."""

    kind: BudgetKind
    amount: float


@dataclass(frozen=True)
class TrialConfig:
    """One trial. `root` is the trial's own folder, `data_dir` the prepared data (see `swarm.harness.layout`).

    `memory_fraction` of the GPU and `memory_cap_mib` are what it may allocate; None is no limit. `gate`: lock file
    of a shared GPU (see `swarm.harness.gate`). `program_sha256`: of the code as it was laid out; None is not checked.
    `harness`: what kind of data its program trains on and is asked about.
    """

    trial_id: str
    study_id: str
    seed: int
    device: Device
    threads: int
    data_dir: Path
    root: Path
    budget: WorkBudget
    editable: str
    split: Split = "val"
    memory_fraction: float | None = None
    memory_cap_mib: int | None = None
    rungs: tuple[float, ...] = ()
    gate: Path | None = None
    program_sha256: str | None = None
    harness: Harness = "images"

    @property
    def folder(self) -> TrialFolder:
        return TrialFolder(self.root)

    @property
    def program_file(self) -> Path:
        return self.folder.program / self.editable

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, default=str) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "TrialConfig":
        """Raises ValueError naming the field that is wrong or missing."""
        try:
            return _checked(cls, json.loads(text))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error


def _checked(kind: type[TrialConfig], raw: dict[str, object]) -> TrialConfig:
    budget, rungs, gate = raw.pop("budget"), raw.pop("rungs", []), raw.pop("gate", None)
    if not isinstance(budget, dict):
        raise TypeError("budget must be an object with kind and amount")
    if not isinstance(rungs, list):
        raise TypeError("rungs must be a list of fractions")
    config = kind(
        budget=WorkBudget(budget["kind"], float(budget["amount"])),
        rungs=tuple(float(rung) for rung in rungs),
        gate=None if gate is None else Path(str(gate)),
        data_dir=Path(str(raw.pop("data_dir"))),
        root=Path(str(raw.pop("root"))),
        **raw,  # type: ignore[arg-type] # checked below
    )
    _require(config.device in get_args(Device), "device", config.device, get_args(Device))
    _require(config.split in get_args(Split), "split", config.split, get_args(Split))
    _require(config.harness in get_args(Harness), "harness", config.harness, get_args(Harness))
    _require(config.budget.kind in get_args(BudgetKind), "budget.kind", config.budget.kind, get_args(BudgetKind))
    _require(config.budget.amount >= 1e-3, "budget.amount", config.budget.amount, "at least 0.001")
    _require(isinstance(config.threads, int) and config.threads >= 1, "threads", config.threads, "at least 1")
    _require(isinstance(config.seed, int), "seed", config.seed, "a whole number")
    return config


def _require(holds: bool, field: str, value: object, allowed: object) -> None:
    if not holds:
        raise ValueError(f"{field} is {value!r}, must be {allowed}")
