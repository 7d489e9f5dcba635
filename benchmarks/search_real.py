"""Search policies on real trainings: the embedded default against Optuna's TPE and random search.

    python benchmarks/search_real.py [--seeds 5] [--first-seed 0] [--trials 20] [--policies random tpe embedded]
                                     [--cache FILE] [--json]

The program is models/resnext with shapes that suit the budget (SHAPES) and its other constants and spaces as declared;
the data is the stand-in. A training costs BUDGET_S of reckoned work (benchmarks/standin_training.py), is scored on half
of the validation images, and is kept in `--cache`: a run that was ended goes on there, and one that finds all its
trainings only prints, as the defaults do while neither the program nor a policy changes. Seeds come one after the
other, all policies of a seed in turn, as many at a time as there are cores.

Every policy starts from the program as it comes, and knows its loss for nothing; seeds differ in the policies' choices
and in the seeds of the trainings.

    random     settings by lot; hands over the best single run
    tpe        optuna.samplers.TPESampler as it comes, told of the start, two trials at a time; hands over the best mean
    embedded   the swarm as it comes without a key, two workers: dispatch, all four arms, verdicts, replicates
    constants  the same without the edit library, so that it has the same programs to choose from as the other two

Replicates count as trials; the five runs for the noise floor come on top for the swarm. What a policy hands over is
trained again on FRESH seeds and scored on the other validation images: that loss is the policy's result.
"""

import argparse
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from standin_training import Trainings  # first: it loads torch in a way that forks survive

# isort: split
from comparison import print_differences, print_policies
from plain import CHECKPOINTS, Policy, Run, plain_tpe, random_search, seed_of
from replay_study import ReplayStudy

from swarm.records import FailReason

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / "benchmarks" / "data" / "search_real.jsonl"
BUDGET_S = 0.8
SHAPES = {  # what fits into the budget; a stem of stride 4, as most of the work is where the maps are large
    "WIDTH": "WIDTH = 16  # search: {8, 16, 24, 32, 48}",
    "BLOCKS": "BLOCKS = 1  # search: int(1, 3)",
    "STEM_STRIDE": "STEM_STRIDE = 4",
    "BATCH_SIZE": "BATCH_SIZE = 64  # search: {32, 64, 128, 256}",
}
FRESH = 3
GUESSING = math.log(100)


class Job(NamedTuple):
    """One study."""

    cache: Path
    policy: str
    seed: int
    checkpoints: tuple[int, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=CACHE, help="trainings; goes on where the file ends")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--trials", type=int, choices=CHECKPOINTS, default=CHECKPOINTS[0], help="a policy and seed")
    parser.add_argument("--policies", nargs="+", choices=list(POLICIES), default=["random", "tpe", "embedded"])
    parser.add_argument("--json", action="store_true", help="the figures alone, one JSON line each")
    options = parser.parse_args()
    checkpoints = [trials for trials in CHECKPOINTS if trials <= options.trials]
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    results = run_policies(options.cache, options.policies, seeds, checkpoints)
    if not options.json:
        print_table(results, checkpoints)
    for figure in figures(results, checkpoints):
        print(json.dumps(figure))


def run_policies(
    cache_file: Path, names: Sequence[str], seeds: Iterable[int], checkpoints: Sequence[int]
) -> dict[str, list[list[float]]]:
    """For each policy and seed the re-measured loss of what was handed over at each checkpoint."""
    jobs = [Job(cache_file, name, seed, tuple(checkpoints)) for seed in seeds for name in names]
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        outcomes = list(workers.map(run_one, jobs))
    results: dict[str, list[list[float]]] = {name: [] for name in names}
    for job, outcome in zip(jobs, outcomes, strict=True):
        results[job.policy].append(outcome)
    return results


def run_one(job: Job) -> list[float]:
    trainings = open_trainings(job.cache)

    def run(program: str, trial_seed: int) -> float | FailReason:
        training = trainings.run(program, trial_seed)
        return FailReason(training.reason) if training.loss is None else training.loss

    handed_over = POLICIES[job.policy](base_source(), job.seed, run, job.checkpoints)
    print(f"seed {job.seed}, {job.policy}: its trials are done", file=sys.stderr, flush=True)
    return [fmean(fresh_losses(trainings, program, job.seed)) for program in handed_over]


def fresh_losses(trainings: Trainings, program: str, seed: int) -> list[float]:
    """Of a program that was handed over. One that fails is worth a guess."""
    fresh = [trainings.run(program, seed_of(seed, -1 - place), "final").loss for place in range(FRESH)]
    return [GUESSING if loss is None else loss for loss in fresh]


@cache
def open_trainings(cache_file: Path) -> Trainings:
    return Trainings(cache_file, BUDGET_S)


def base_source() -> str:
    """The program of models/resnext with shapes that fit into the budget."""
    source = (ROOT / "models" / "resnext" / "train.py").read_text()
    for name, declaration in SHAPES.items():
        source, count = re.subn(rf"(?m)^{name} = .*$", declaration, source)
        assert count == 1, f"models/resnext declares {name} {count} times"
    return source


def swarm_with(*arms: str) -> Policy:
    def policy(start: str, seed: int, run: Run, checkpoints: Sequence[int]) -> list[str]:
        study = ReplayStudy(start, arms, seed, run)
        return [study.run(until=trials) for trials in checkpoints]

    return policy


POLICIES: dict[str, Policy] = {
    "random": random_search,
    "tpe": plain_tpe,
    "embedded": swarm_with("tpe", "climb", "library", "recombine"),
    "constants": swarm_with("tpe", "climb", "recombine"),
}


def print_table(results: Mapping[str, Sequence[Sequence[float]]], checkpoints: Sequence[int]) -> None:
    seeds = len(next(iter(results.values())))
    print(f"{seeds} seeds a policy, trainings of {BUDGET_S:g} s of reckoned work, {FRESH} fresh trainings a result\n")
    print_policies(results, checkpoints)
    for ours in ("embedded", "constants"):
        if ours in results:
            print_differences(results, checkpoints, ours, [name for name in ("random", "tpe") if name in results])
    print()


def figures(results: Mapping[str, Sequence[Sequence[float]]], checkpoints: Sequence[int]) -> list[dict[str, object]]:
    """Mean losses; a ratio below 1 is in our favour."""
    lines: list[dict[str, object]] = []
    for other in [name for name in ("random", "tpe", "constants") if name in results and "embedded" in results]:
        for column, trials in enumerate(checkpoints):
            ours, theirs = (fmean(outcome[column] for outcome in results[name]) for name in ("embedded", other))
            lines.append(
                {
                    "bench": f"search_real_{trials}_trials_vs_{other}",
                    "ours": round(ours, 4),
                    "baseline": round(theirs, 4),
                    "ratio": round(ours / theirs, 4),
                    "unit": "nats",
                    "n": len(results["embedded"]),
                }
            )
    return lines


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
