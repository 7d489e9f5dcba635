"""What one trial is told: `harness.json`, written by the swarm, read by every phase."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from swarm.harness.errors import HarnessError

TRIAL_VARIABLE = "SWARM_TRIAL"

BudgetKind = Literal["samples", "seconds", "solo_seconds"]
Split = Literal["val", "test"]


@dataclass(frozen=True)
class Budget:
    """How much a training may do. `amount` is images for `samples`, otherwise seconds."""

    kind: BudgetKind
    amount: float


@dataclass(frozen=True)
class TrialConfig:
    """One trial. `folder` is the trial's own folder, `data_dir` the data cache (see `swarm.harness.layout`).

    `program_sha256`: of the code as it was exported (see `swarm.harness.stage_phase`); None: it is not checked.
    """

    trial_id: str
    study_id: str
    seed: int
    device: Literal["cpu", "cuda"]
    threads: int
    data_dir: Path
    folder: Path
    budget: Budget
    split: Split
    memory_fraction: float | None
    memory_cap_mib: int | None
    rungs: tuple[float, ...]
    gate: Path | None
    editable: str
    program_sha256: str | None = None

    @property
    def program(self) -> Path:
        return self.folder / "program" / self.editable

    @property
    def train_out(self) -> Path:
        return self.folder / "train_out"

    @property
    def predict_in(self) -> Path:
        return self.folder / "predict_in"

    @property
    def predict_out(self) -> Path:
        return self.folder / "predict_out"

    @property
    def private(self) -> Path:
        return self.folder / "private"


def load(path: Path | None = None) -> TrialConfig:
    """Reads `path`, or the file that SWARM_TRIAL names. Raises HarnessError naming what is wrong with it."""
    if path is None:
        named = os.environ.get(TRIAL_VARIABLE)
        if not named:
            raise HarnessError(
                f"{TRIAL_VARIABLE} is not set: there is no trial to run. "
                "Run one by hand with `python -m swarm.harness.run models/resnext`."
            )
        path = Path(named)
    try:
        return parse(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"{path} is not a trial's harness.json: {type(error).__name__}: {error}") from error


def parse(raw: dict[str, object]) -> TrialConfig:
    """The parsed JSON object -> TrialConfig. Raises KeyError, TypeError or ValueError with the field's name."""
    budget = raw["budget"]
    if not isinstance(budget, dict):
        raise TypeError("budget must be an object with kind and amount")
    rungs = raw["rungs"]
    if not isinstance(rungs, list):
        raise TypeError("rungs must be a list of fractions")
    fraction, cap, gate = raw["memory_fraction"], raw["memory_cap_mib"], raw["gate"]
    program = raw.get("program_sha256")
    return TrialConfig(
        trial_id=str(raw["trial_id"]),
        study_id=str(raw["study_id"]),
        seed=int(str(raw["seed"])),
        device=_one_of("device", raw["device"], ("cpu", "cuda")),
        threads=_at_least("threads", int(str(raw["threads"])), 1),
        data_dir=Path(str(raw["data_dir"])),
        folder=Path(str(raw["folder"])),
        budget=Budget(
            kind=_one_of("budget.kind", budget["kind"], get_args(BudgetKind)),
            amount=_at_least("budget.amount", float(budget["amount"]), 1e-3),
        ),
        split=_one_of("split", raw["split"], get_args(Split)),
        memory_fraction=None if fraction is None else float(str(fraction)),
        memory_cap_mib=None if cap is None else int(str(cap)),
        rungs=tuple(float(rung) for rung in rungs),
        gate=None if gate is None else Path(str(gate)),
        editable=str(raw["editable"]),
        program_sha256=None if program is None else str(program),
    )


def to_json(config: TrialConfig) -> str:
    """The text of `harness.json`; `parse(json.loads(...))` gives the same config back."""
    raw = {
        "trial_id": config.trial_id,
        "study_id": config.study_id,
        "seed": config.seed,
        "device": config.device,
        "threads": config.threads,
        "data_dir": str(config.data_dir),
        "folder": str(config.folder),
        "budget": {"kind": config.budget.kind, "amount": config.budget.amount},
        "split": config.split,
        "memory_fraction": config.memory_fraction,
        "memory_cap_mib": config.memory_cap_mib,
        "rungs": list(config.rungs),
        "gate": None if config.gate is None else str(config.gate),
        "editable": config.editable,
        "program_sha256": config.program_sha256,
    }
    return json.dumps(raw, indent=1) + "\n"


def _one_of(field: str, value: object, allowed: tuple[str, ...]) -> object:
    if value not in allowed:
        raise ValueError(f"{field} is {value!r}, must be one of {', '.join(allowed)}")
    return value


def _at_least(field: str, value, limit):
    if not value >= limit:
        raise ValueError(f"{field} is {value}, must be at least {limit}")
    return value
