"""A target.toml for somebody's own repository, drafted from what lies there and what a first run printed."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from swarm.program.constants import MAX_NAME

IGNORED = (".swarm/", "swarm_brain.jsonl*", "__pycache__/")
HIGHER = ("acc", "score", "f1", "auc", "r2", "reward", "throughput", "precision", "recall", "psnr", "bleu")
_LIKELY = ("train", "fit", "main", "run", "solve", "bench", "evaluate")
_NUMBER = r"(?P<value>[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)"
_NAMED = re.compile(rf"(?:METRIC\s+)?\b(?P<name>[A-Za-z_][A-Za-z0-9_.]{{0,39}})\s*[:=]\s*{_NUMBER}(?![\w.])")

Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class Draft:
    """What `swarm init` has found out or was told. `budget_s`: CPU seconds that a trial may take."""

    name: str
    command: str
    editable: tuple[str, ...]
    metric: str
    direction: Direction
    digits: int = 4
    budget_s: float = 60.0
    walltime_limit_s: float = 300.0
    memory_mib: int = 1000

    def toml(self) -> str:
        profile = (
            f"budget = {self.budget_s:g}\nwalltime_limit_s = {self.walltime_limit_s:g}\n"
            f"memory_mib = {self.memory_mib}\nthreads = 1\n"
        )
        return (
            f"name = {json.dumps(self.name)}\n"
            "# Without a [grade] command the program's own printed number counts: self-reported.\n"
            f"editable = {json.dumps(list(self.editable))}\n\n"
            f'[objective]\nname = {json.dumps(self.metric)}\nunit = ""\ndirection = "{self.direction}"\n'
            f"digits = {self.digits}\n\n"
            f'[budget]\nkind = "work"  # CPU seconds of a trial\n\n[run]\ncommand = {json.dumps(self.command)}\n\n'
            f"[profile.cpu]\n{profile}\n[profile.gpu]\n{profile}"
        )

    def program_md(self) -> str:
        word = "Lower" if self.direction == "minimize" else "Raise"
        return (
            f"{word} {self.metric}, which `{self.command}` prints. The seed of a trial is in the environment as "
            f"SWARM_SEED.\n\nOnly {', '.join(self.editable)} may change. Keep the line that prints {self.metric}, and "
            "what it measures.\n"
        )


def likely_programs(files: Mapping[str, str]) -> list[str]:
    """Python files at the top of the repository that look as if they were run, the likeliest first."""
    top = [path for path in files if "/" not in path and path.endswith(".py") and not path.startswith("test_")]
    runs = [path for path in top if "__main__" in files[path] or path.removesuffix(".py").lower() in _LIKELY]
    return sorted(runs or top, key=lambda path: (path.removesuffix(".py").lower() not in _LIKELY, path))


def printed_numbers(output: str) -> dict[str, float]:
    """The last value of each named number that a run has printed, in the order in which the names came."""
    found: dict[str, float] = {}
    for match in _NAMED.finditer(output):
        value = float(match["value"])
        if math.isfinite(value) and len(match["name"]) <= MAX_NAME:
            found[match["name"]] = value
    return found


def likely_direction(metric: str) -> Direction:
    """By the name alone: a person is asked, or says so."""
    return "maximize" if any(word in metric.lower() for word in HIGHER) else "minimize"


def digits_for(sigma: float, value: float) -> int:
    """So many that the noise shows in two of them; six significant ones where there is no noise."""
    if sigma > 0:
        return min(9, max(0, 1 - math.floor(math.log10(sigma))))
    return min(9, max(0, 5 - math.floor(math.log10(abs(value))))) if value else 6


def ignore_lines(present: str) -> Iterator[str]:
    """Those that a .gitignore lacks."""
    have = {line.strip() for line in present.splitlines()}
    yield from (line for line in IGNORED if line not in have)


def tidy_name(folder: str) -> str:
    """A target's name made of a folder's."""
    name = re.sub(r"[^a-z0-9_-]+", "-", folder.lower()).strip("-_")
    return name[:40] or "target"
