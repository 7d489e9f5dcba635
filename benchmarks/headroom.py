"""How much there is to gain on the stand-in, against the noise between seeds: real trainings, one after the other.

    python benchmarks/headroom.py [--target resnext] [--baseline-seeds 5] [--seeds 2] [--json]

Prints one line a variant: {"bench", "ours": its mean loss, "baseline": the baseline's, "ratio", "unit", "n"} and more;
without --json a table in Markdown. About 25 s of CPU time a training.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from swarm.harness.layout import Layout
from swarm.harness.prepare import prepare
from swarm.harness.run import Plan, run_trial
from swarm.trial.contract import code_root

Constants = Mapping[str, str]

VARIANTS: dict[str, dict[str, Constants]] = {
    "resnext": {
        "learning rate x3": {"MAX_LR": "0.6"},
        "learning rate /3": {"MAX_LR": "0.067"},
        "width 24 instead of 16": {"WIDTH": "24"},
        "width 8 instead of 16": {"WIDTH": "8"},
        "no augmentation": {"FLIP": "False", "CROP_PAD": "0"},
        "crop by 2 instead of 4": {"CROP_PAD": "2"},
        "label smoothing 0.1": {"LABEL_SMOOTHING": "0.1"},
        "weight decay x10": {"WEIGHT_DECAY": "5e-3"},
        "batch 32 instead of 64": {"BATCH_SIZE": "32"},
        "learning rate x2, batch 32, crop by 2": {"MAX_LR": "0.4", "BATCH_SIZE": "32", "CROP_PAD": "2"},
    },
    "efficientnet": {
        "learning rate x2": {"MAX_LR": "8e-3"},
        "learning rate /3": {"MAX_LR": "1.3e-3"},
        "expansion 2, width 0.75": {"EXPANSION": "2", "WIDTH": "0.75"},
        "no augmentation": {"FLIP": "False", "CROP_PAD": "0"},
    },
}


@dataclass(frozen=True)
class Row:
    """One variant: its losses, one a seed, and the mean accuracy."""

    name: str
    losses: tuple[float, ...]
    top1: float

    @property
    def mean(self) -> float:
        return statistics.mean(self.losses)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=sorted(VARIANTS), default="resnext")
    parser.add_argument("--baseline-seeds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    layout = prepare("standin").layout
    baseline = measure("baseline", options.target, {}, range(1, 1 + options.baseline_seeds), layout)
    sigma = statistics.stdev(baseline.losses) if len(baseline.losses) > 1 else float("nan")
    if not options.json:
        print("| change | loss | against baseline | in sigma | top-1 | seeds |\n|---|---|---|---|---|---|")
    print(line(baseline, baseline, sigma, options.json), flush=True)
    for row in rows(options.target, options.seeds, layout):
        print(line(row, baseline, sigma, options.json), flush=True)
    return 0


def rows(target: str, seeds: int, layout: Layout) -> Iterator[Row]:
    for name, constants in VARIANTS[target].items():
        yield measure(name, target, constants, range(101, 101 + seeds), layout)


def measure(name: str, target: str, constants: Constants, seeds: Sequence[int], layout: Layout) -> Row:
    scores = []
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="headroom-") as folder:
            plan = Plan(code_root() / "models" / target, seed=seed, constants=constants)
            scores.append(run_trial(plan, layout, Path(folder)))
    losses = tuple(score["validation_loss"] for score in scores)
    return Row(name, losses, statistics.mean(score["top1"] for score in scores))


def line(row: Row, baseline: Row, sigma: float, as_json: bool) -> str:
    difference = row.mean - baseline.mean
    if not as_json:
        spread = f" ± {sigma:.3f}" if row is baseline else ""
        return (
            f"| {row.name} | {row.mean:.3f}{spread} | {difference:+.3f} | {difference / sigma:+.1f} "
            f"| {100 * row.top1:.1f} % | {len(row.losses)} |"
        )
    figure = {
        "bench": f"headroom/{row.name}",
        "ours": round(row.mean, 4),
        "baseline": round(baseline.mean, 4),
        "ratio": round(row.mean / baseline.mean, 4),
        "unit": "validation loss, nats",
        "n": len(row.losses),
        "sigma": round(sigma, 4),
        "difference_in_sigma": round(difference / sigma, 2),
        "losses": row.losses,
        "top1": round(row.top1, 4),
    }
    return json.dumps(figure)


if __name__ == "__main__":
    sys.exit(main())
