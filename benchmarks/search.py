"""Search policies on a table of real trainings: the embedded default against Optuna's TPE and random search.

    python benchmarks/search.py [--seeds 20] [--first-seed 0] [--more] [--json]

Every setting of a grid was trained once by `make_replay_table.py`, so a policy's trial is a look-up: the tabulated loss
plus normal noise with the median standard deviation of the repeated settings; one setting with one training seed has
the same noise for every policy. A policy's result is the tabulated loss of the program that it would hand over, never
the noisy loss by which it chose.

    random    settings by lot without repetition; hands over the best single run
    tpe       optuna.samplers.TPESampler as it comes, told of the start, two trials at a time; hands over the best mean
    embedded  the swarm as it comes without a key: dispatch, model-based, climb and recombine, verdicts, replicates
    arm_tpe   with --more: the swarm with its tpe arm alone, which moves at most three constants at a time
    arm_all   with --more: the same, moving all constants at once

Each seed starts from another program: a setting by lot among those between the 20th and the 50th percentile of the
table, as a competent program that nobody has tuned. The start's loss is known to every policy for nothing, and
policies are compared seed by seed.

The swarm's policies run the real dispatcher, arms, briefing, gate, claims and verdicts; two workers take turns.
Replicates count as trials. Only the training is replaced, and the edit library is missing: a table of constants has no
row for a structural edit. The five runs for the noise floor come on top for the swarm; the others do not need them.
"""

import argparse
import json
import os
import random
import sys
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from comparison import print_differences, print_policies
from plain import CHECKPOINTS, Policy, Run, plain_tpe, random_search
from replay_study import ReplayStudy
from replay_table import Table, load_table

from workers.proposers.tpe import MOVED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--more", action="store_true", help="also the swarm with its tpe arm alone")
    parser.add_argument("--json", action="store_true", help="the figures alone, one JSON line each")
    options = parser.parse_args()
    names = [name for name in POLICIES if options.more or name not in MORE]
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    results = run_policies(seeds, names)
    if not options.json:
        print_table(load_table(), results)
    for line in figures(load_table(), results):
        print(json.dumps(line))


def run_policies(seeds: Sequence[int], names: Sequence[str]) -> dict[str, list[list[float]]]:
    """For each policy and seed the loss handed over at each checkpoint."""
    jobs = [(name, seed) for seed in seeds for name in names]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(run_one, jobs, chunksize=2))
    results: dict[str, list[list[float]]] = {name: [] for name in names}
    for (name, _), outcome in zip(jobs, outcomes, strict=True):
        results[name].append(outcome)
    return results


def run_one(job: tuple[str, int]) -> list[float]:
    name, seed = job
    table = load_table()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        handed_over = POLICIES[name](table.start(random.Random(seed)), seed, table.run, CHECKPOINTS)
    return [table.loss(program) for program in handed_over]


def swarm_with(*arms: str, moved: int | None = MOVED) -> Policy:
    def policy(start: str, seed: int, run: Run, checkpoints: Sequence[int]) -> list[str]:
        study = ReplayStudy(start, arms, seed, run, moved=moved)
        return [study.run(until=trials) for trials in checkpoints]

    return policy


POLICIES: dict[str, Policy] = {
    "random": random_search,
    "tpe": plain_tpe,
    "embedded": swarm_with("model-based", "climb", "recombine"),
    "arm_tpe": swarm_with("tpe"),
    "arm_all": swarm_with("tpe", moved=None),
}
MORE = ("arm_tpe", "arm_all")


def print_table(table: Table, results: Mapping[str, Sequence[Sequence[float]]]) -> None:
    print(f"{table.described}; {len(results['embedded'])} seeds a policy\n")
    print_policies(results, CHECKPOINTS)
    print_differences(results, CHECKPOINTS, "embedded", [name for name in results if name != "embedded"])
    print()


def figures(table: Table, results: Mapping[str, Sequence[Sequence[float]]]) -> list[dict[str, object]]:
    """How far above the best of the table each policy ends, on average; a ratio below 1 is in our favour."""
    lines: list[dict[str, object]] = []
    for other in ("random", "tpe"):
        for column, trials in enumerate(CHECKPOINTS):
            ours, theirs = (
                fmean(outcome[column] for outcome in results[name]) - table.best for name in ("embedded", other)
            )
            lines.append(
                {
                    "bench": f"search_{trials}_trials_vs_{other}",
                    "ours": round(ours, 5),
                    "baseline": round(theirs, 5),
                    "ratio": round(ours / theirs, 3) if theirs > 0 else None,
                    "unit": "nats above the best of the table",
                    "n": len(results["embedded"]),
                }
            )
    return lines


if __name__ == "__main__":
    main()
