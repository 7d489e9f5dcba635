"""The baselines as they come: five seeds of each target at its profile's budget, on the device at hand.

    python benchmarks/baselines.py [--targets resnext efficientnet] [--seeds 5] [--budget-s S] [--dataset auto] [--json]

Without --json a table in Markdown first. The data is CIFAR-100 on a GPU, and on a CPU the stand-in unless SWARM_DATA
names an archive; the table says which. `baseline` of a figure is the mean loss of efficientnet_seed, the demonstration
of a bad start, where that is among the targets, and otherwise ln 100, the loss of guessing; `baseline_is` says which.
Images per second are those of the training loop by the wall clock, on a machine that does nothing else.
"""

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from swarm.gpu import detect_probe
from swarm.harness.layout import CLASSES, Layout
from swarm.harness.prepare import prepare
from swarm.harness.run import Plan, run_trial
from swarm.target.file import load_target
from swarm.trial.config import WorkBudget
from swarm.trial.contract import DATA_VARIABLE, code_root
from swarm.trial.folder import TrialFolder

BAD_START = "efficientnet_seed"


@dataclass(frozen=True)
class Run:
    """One training with its score."""

    loss: float
    top1: float
    params_m: float
    steps: int
    images_per_s: float
    torch: str


@dataclass(frozen=True)
class Row:
    """One target, a run a seed."""

    target: str
    budget: WorkBudget
    runs: tuple[Run, ...]

    @property
    def losses(self) -> list[float]:
        return [run.loss for run in self.runs]

    @property
    def sd(self) -> float | None:
        return statistics.stdev(self.losses) if len(self.runs) > 1 else None

    def mean(self, field: Literal["loss", "top1", "params_m", "steps", "images_per_s"]) -> float:
        return statistics.fmean(getattr(run, field) for run in self.runs)


@dataclass(frozen=True)
class Place:
    """Where a table was made."""

    device: str
    torch: str
    dataset: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", default=["resnext", "efficientnet"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget-s", type=float, help="instead of the profile's")
    parser.add_argument("--dataset", choices=["auto", "cifar100", "standin"], default="auto")
    parser.add_argument("--json", action="store_true", help="the figures alone, one JSON line each")
    options = parser.parse_args()
    probe = detect_probe("auto")
    profile: Literal["cpu", "gpu"] = "gpu" if probe.kind == "cuda" else "cpu"
    on_standin = options.dataset == "auto" and profile == "cpu" and not os.environ.get(DATA_VARIABLE)
    data = prepare("standin" if on_standin else options.dataset)
    rows = []
    for target in options.targets:
        budget = budget_of(target, profile, options.budget_s)
        rows.append(measure(target, profile, budget, range(1, 1 + options.seeds), data.layout))
    place = Place(probe.name, rows[0].runs[0].torch, data.dataset)
    if not options.json:
        print(as_markdown(rows, place))
    for figure in figures(rows, place):
        print(json.dumps(figure))
    return 0


def budget_of(target: str, profile: Literal["cpu", "gpu"], seconds: float | None) -> WorkBudget:
    """The profile's own, or as many solo seconds."""
    if seconds is not None:
        return WorkBudget("solo_seconds", seconds)
    loaded = load_target(target, code_root())
    own = loaded.budget.of(loaded.profiles.gpu if profile == "gpu" else loaded.profiles.cpu)
    return WorkBudget(own.kind, own.amount)


def measure(
    target: str, profile: Literal["cpu", "gpu"], budget: WorkBudget, seeds: Sequence[int], layout: Layout
) -> Row:
    """Trains and scores each seed, one after the other, all phases as processes. Raises HarnessError."""
    runs = []
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="baselines-") as name:
            folder = Path(name)
            score = run_trial(Plan(code_root() / "models" / target, profile, seed, budget), layout, folder)
            facts = json.loads(TrialFolder(folder).train_report.read_text())
        runs.append(
            Run(
                loss=score["validation_loss"],
                top1=score["top1"],
                params_m=facts["num_params_M"],
                steps=facts["steps"],
                images_per_s=facts["images_per_s"],
                torch=facts["torch"],
            )
        )
        print(f"{target}, seed {seed}: {runs[-1].loss:.4f}", file=sys.stderr, flush=True)
    return Row(target, budget, tuple(runs))


def as_markdown(rows: Sequence[Row], place: Place) -> str:
    """The table to paste into docs/benchmarks.md."""
    labelled = "the stand-in (procedural images, not CIFAR-100)" if place.dataset == "standin" else "CIFAR-100"
    lines = [
        f"{place.device}, torch {place.torch}, {labelled}; mean and sd over {len(rows[0].runs)} seeds.",
        "",
        "| target | budget | validation loss | top-1 | parameters | steps | images/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        spread = f" ± {row.sd:.4f}" if row.sd is not None else ""
        unit = "images" if row.budget.kind == "samples" else f"{row.budget.kind.replace('_', ' ')}"
        lines.append(
            f"| {row.target} | {row.budget.amount:g} {unit} | {row.mean('loss'):.4f}{spread} "
            f"| {100 * row.mean('top1'):.1f} % | {row.mean('params_m'):.3f} M | {row.mean('steps'):.0f} "
            f"| {row.mean('images_per_s'):.0f} |"
        )
    return "\n".join(lines) + "\n"


def figures(rows: Sequence[Row], place: Place) -> list[dict[str, object]]:
    bad_start = next((row for row in rows if row.target == BAD_START), None)
    baseline = bad_start.mean("loss") if bad_start is not None else math.log(CLASSES)
    return [
        {
            "bench": f"baselines {row.target}, validation loss",
            "ours": round(row.mean("loss"), 4),
            "baseline": round(baseline, 4),
            "ratio": round(row.mean("loss") / baseline, 4),
            "unit": "nats",
            "n": len(row.runs),
            "baseline_is": BAD_START if bad_start is not None else f"ln {CLASSES}",
            "sd": None if row.sd is None else round(row.sd, 4),
            "losses": row.losses,
            "top1": round(row.mean("top1"), 4),
            "params_m": round(row.mean("params_m"), 4),
            "steps": round(row.mean("steps"), 1),
            "images_per_s": round(row.mean("images_per_s"), 1),
            "budget": f"{row.budget.amount:g} {row.budget.kind}",
            "device": place.device,
            "torch": place.torch,
            "data": place.dataset,
        }
        for row in rows
    ]


if __name__ == "__main__":
    sys.exit(main())
