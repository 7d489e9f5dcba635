"""The one file of results: written after each step, gone on with by the next call on the same machine and code."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from evening_run import Evening, Figures, Value

from swarm.compare.calibrate import installed_torch
from swarm.errors import SwarmError
from swarm.gpu import NvmlProbe
from swarm.gpu.host import host_limits

State = Literal["ok", "failed"]
SCHEMA = 1


@dataclass(frozen=True)
class Result:
    """`load`: of the machine, over a minute, when the step ended; figures of a loaded machine are no figures."""

    state: State
    seconds: float
    load: float
    figures: Figures
    detail: str = ""


@dataclass
class Results:
    path: Path
    about: dict[str, Value]
    planned: list[str] = field(default_factory=list)
    calls: list[dict[str, Value]] = field(default_factory=list)
    steps: dict[str, Result] = field(default_factory=dict)

    @classmethod
    def open(cls, evening: Evening) -> "Results":
        """What there is already, if it is of this machine and code; the file of another is set aside."""
        path, about = evening.folder / "results.json", _about(evening)
        if path.exists():
            known = json.loads(path.read_text(encoding="utf-8"))
            if known.get("about") == about:
                steps = {name: Result(**said) for name, said in known["steps"].items()}
                return cls(path, about, known["planned"], known["calls"], steps)
            path.replace(path.with_name(f"results-{int(path.stat().st_mtime)}.json"))
        return cls(path, about)

    @property
    def missing(self) -> list[str]:
        return [name for name in self.planned if name not in self.steps]

    def is_done(self, name: str) -> bool:
        return name in self.steps

    def figures(self, name: str) -> Mapping[str, Value]:
        return self.steps[name].figures if name in self.steps else {}

    def note(self, name: str, state: State, seconds: float, figures: Figures, detail: str = "") -> None:
        self.steps[name] = Result(state, round(seconds, 1), _load(), figures, detail[:2000])
        self._write()

    def begin_call(self, minutes: float, planned: Sequence[str]) -> None:
        self.planned = list(planned)
        self.calls.append({"began_at": round(time.time()), "minutes": minutes, "load": _load(), "seconds": None})
        self._write()

    def end_call(self) -> None:
        call = self.calls[-1]
        call["seconds"] = round(time.time() - float(call["began_at"] or 0))
        self._write()

    def to_json(self) -> str:
        said = {name: asdict(result) for name, result in self.steps.items()}
        whole = {"schema_version": SCHEMA, "about": self.about, "planned": self.planned, "calls": self.calls}
        return json.dumps({**whole, "missing": self.missing, "steps": said}, indent=1)

    def _write(self) -> None:
        draft = self.path.with_suffix(".tmp")
        draft.write_text(self.to_json() + "\n", encoding="utf-8")
        draft.replace(self.path)


def _about(evening: Evening) -> dict[str, Value]:
    """What a figure depends on."""
    card, driver = _card() if evening.device == "cuda" else (None, None)
    limits = host_limits()
    return {
        "device": evening.device,
        "card": card,
        "driver": driver,
        "torch": installed_torch(),
        "python": platform.python_version(),
        "cpu_slots": limits.cpu_slots,
        "ram_mib": limits.ram_mib,
        "commit": _commit(evening.root),
        "short": evening.short,
    }


def _card() -> tuple[str, str]:
    """Raises SystemExit: without a card there is nothing to do, and nothing is written."""
    try:
        probe = NvmlProbe()
    except SwarmError as error:
        raise SystemExit(f"error: {error} (or: make gpu-evening ARGS='--device cpu --short')") from error
    return probe.name, probe.driver_version()


def _commit(root: Path) -> str:
    """With a mark where files were changed since; a copy without git has none."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=root, capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"


def _load() -> float:
    return round(os.getloadavg()[0], 2)
