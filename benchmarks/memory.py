"""What the shared memory is worth: the same study with it, with the worker's own, with shuffled results and with none.

    python benchmarks/memory.py [--seeds 40] [--first-seed 0] [--json]

Two workers with the embedded arms on the replay table (benchmarks/search.py), each seed from a start of its own, the
same for every arm. The arms are those of `swarm up --memory`, and it is the workers' own code that applies them:

    shared    every worker's attempts with their results
    own       the worker's attempts only
    shuffled  all attempts, each with the result of another one: the right form without the knowledge
    off       the incumbent and nothing else

Verdicts, the dispatcher's choices and the refusal of repeats rest on the record in every arm: withheld is what
proposers are told. The result is the tabulated loss of the program handed over, compared seed by seed, two-sided.
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

from comparison import difference_interval, permutation_p, print_differences, print_policies, verdict_of
from plain import CHECKPOINTS
from replay_study import ReplayStudy
from replay_table import load_table

from swarm.study.settings import Memory

MEMORIES: tuple[Memory, ...] = ("shared", "own", "shuffled", "off")
CONTROLS: tuple[Memory, ...] = ("shuffled", "off", "own")
ARMS = ("model-based", "climb", "recombine")

Results = Mapping[Memory, Sequence[Sequence[float]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="the figures alone, one JSON line each")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    results = run_memories(seeds)
    if not options.json:
        print(f"{load_table().described}; {options.seeds} seeds an arm\n")
        print_policies(results, CHECKPOINTS)
        print_differences(results, CHECKPOINTS, "shared", CONTROLS, two_sided=True)
        print()
    for figure in figures(results):
        print(json.dumps(figure))


def run_memories(seeds: Sequence[int]) -> dict[Memory, list[list[float]]]:
    """For each memory arm and seed the loss handed over at each checkpoint."""
    jobs = [(memory, seed) for seed in seeds for memory in MEMORIES]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(run_one, jobs))
    results: dict[Memory, list[list[float]]] = {memory: [] for memory in MEMORIES}
    for (memory, _), outcome in zip(jobs, outcomes, strict=True):
        results[memory].append(outcome)
    return results


def run_one(job: tuple[Memory, int]) -> list[float]:
    memory, seed = job
    table = load_table()
    study = ReplayStudy(table.start(random.Random(seed)), ARMS, seed, table.run, memory=memory)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [table.loss(study.run(until=trials)) for trials in CHECKPOINTS]


def figures(results: Results) -> list[dict[str, object]]:
    """How far above the best of the table an arm ends, on average; `difference` is ours minus the baseline's."""
    best, lines = load_table().best, []
    for control in CONTROLS:
        for column, trials in enumerate(CHECKPOINTS):
            ours, theirs = ([outcome[column] for outcome in results[memory]] for memory in ("shared", control))
            low, high = difference_interval(ours, theirs)
            above = fmean(theirs) - best
            lines.append(
                {
                    "bench": f"memory_{trials}_trials_shared_vs_{control}",
                    "ours": round(fmean(ours) - best, 5),
                    "baseline": round(above, 5),
                    "ratio": round((fmean(ours) - best) / above, 3) if above > 0 else None,
                    "unit": "nats above the best of the table",
                    "n": len(ours),
                    "difference": round(fmean(ours) - fmean(theirs), 5),
                    "interval": [round(low, 5), round(high, 5)],
                    "p_two_sided": round(permutation_p(ours, theirs, two_sided=True), 4),
                    "shared_is": verdict_of(ours, theirs),
                }
            )
    return lines


if __name__ == "__main__":
    main()
