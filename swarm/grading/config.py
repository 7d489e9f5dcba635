"""What the two phases are told: T/harness.json of a trial that is not sealed."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from swarm.trial.folder import TrialFolder


@dataclass(frozen=True)
class DeclaredOutput:
    """See `swarm.records.Output`."""

    name: str
    type: str
    dtype: str
    shape: tuple[int, ...] | None
    max_bytes: int


@dataclass(frozen=True)
class GradedConfig:
    """`wanted`: names of all metrics that the study needs, the objective's first. `budget` is in `budget_unit`.
    `needs_items`: a grader must give a number for each item, since the study's noise is theirs. `environment`: names of
    the variables that it alone gets; a candidate may read this file, and no value is in it. `rounds`: how often the
    command runs beside a fixed program, with inputs that `make` has made; 0 where it runs once, with those it has."""

    root: Path
    seed: int
    budget: float
    budget_unit: str
    device: str
    run: tuple[str, ...]
    grade: tuple[str, ...]
    wanted: tuple[str, ...]
    outputs: tuple[DeclaredOutput, ...]
    grade_limit_s: float
    needs_items: bool = False
    environment: tuple[str, ...] = ()
    rounds: int = 0
    make: tuple[str, ...] = ()
    inputs: str = "inputs"

    @property
    def folder(self) -> TrialFolder:
        return TrialFolder(self.root)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, default=str) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "GradedConfig":
        """Raises ValueError for a text of another form."""
        try:
            raw = json.loads(text)
            outputs = tuple(
                DeclaredOutput(**{**one, "shape": None if one["shape"] is None else tuple(one["shape"])})
                for one in raw.pop("outputs")
            )
            for name in ("run", "grade", "wanted", "environment", "make"):
                raw[name] = tuple(raw[name])
            return cls(**{**raw, "root": Path(raw["root"]), "outputs": outputs})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
