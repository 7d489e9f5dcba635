"""Search policies on a table of real trainings: the embedded default against Optuna's TPE and random search.

    python benchmarks/search.py [--seeds 20] [--more] [--json]

Every setting of a grid was trained once by `make_replay_table.py`, so a policy's trial is a look-up: the tabulated loss
plus normal noise with the median standard deviation of the repeated settings. A policy's result is the tabulated loss
of the program that it would hand over, never the noisy loss by which it chose.

    random    settings by lot without repetition; hands over the best single run
    tpe       optuna.samplers.TPESampler as it comes, told of the start, two trials at a time; hands over the best mean
    embedded  the swarm as it comes without a key: dispatch, tpe, climb and recombine, verdicts, replicates
    arm_tpe   with --more: the swarm with its tpe arm alone, which moves at most three constants at a time
    arm_all   with --more: the same, moving all constants at once

Each seed starts from another program: a setting by lot among those between the 20th and the 50th percentile of the
table, as a competent program that nobody has tuned. The start's loss is known to every policy for nothing.

The swarm's policies run the real dispatcher, proposers, briefing, verdicts and replay; two workers take turns.
Replicates count as trials. Only the training is replaced, and the edit library is missing: a table of constants has no
row for a structural edit. The five runs for the noise floor come on top for the swarm; the others do not need them.
"""

import argparse
import json
import os
import random
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean, median, stdev

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from make_replay_table import GRID, PROGRAM, TABLE, key_of, rows
from replay_study import ReplayStudy

from swarm.constants import Choice, Int, assign, parse
from workers.proposers.tpe import MOVED

CHECKPOINTS = (20, 60)
RESAMPLES = 10_000


@dataclass(frozen=True)
class Table:
    """The largest complete grid of the table: loss by setting, and the noise between seeds."""

    losses: Mapping[str, float]
    sigma: float
    levels: Mapping[str, tuple]
    source: str
    trainings: int

    @property
    def best(self) -> float:
        return min(self.losses.values())

    def settings(self) -> list[dict]:
        return [dict(zip(GRID, json.loads(key), strict=True)) for key in self.losses]

    def start(self, rng: random.Random) -> dict:
        """A program that works and was not tuned."""
        ranked = sorted(self.settings(), key=lambda constants: self.losses[key_of(constants)])
        return rng.choice(ranked[len(ranked) // 5 : len(ranked) // 2])

    def run(self, constants: Mapping, rng: random.Random) -> float:
        return self.losses[key_of(constants)] + rng.gauss(0.0, self.sigma)


Policy = Callable[[Table, int], list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--more", action="store_true", help="also the swarm with its tpe arm alone")
    parser.add_argument("--json", action="store_true", help="the figures alone, one JSON line each")
    options = parser.parse_args()
    table = load_table()
    results = run_policies(options.seeds, [name for name in POLICIES if options.more or name not in MORE])
    if not options.json:
        print_table(table, results)
    for line in figures(table, results):
        print(json.dumps(line))


@cache
def load_table() -> Table:
    """Without the levels of the last constant that are not complete yet."""
    all_rows = rows()
    last, levels = list(GRID.items())[-1]
    size = int(np.prod([len(values) for values in GRID.values()])) // len(levels)
    groups: dict[str, list[float]] = {}
    for row in all_rows:
        groups.setdefault(key_of(row["constants"]), []).append(row["loss"])
    counts = {level: sum(json.loads(key)[-1] == level for key in groups) for level in levels}
    complete = tuple(level for level in levels if counts[level] == size)
    if not complete:
        sys.exit(f"{TABLE.name} has {counts} of {size} rows a level of {last}: run benchmarks/make_replay_table.py")
    losses = {key: fmean(group) for key, group in groups.items() if json.loads(key)[-1] in complete}
    # The median, since a few settings with a rate near divergence scatter a hundred times as much as the others.
    sigma = median(stdev(group) for group in groups.values() if len(group) > 1)
    source = PROGRAM.read_text()
    if len(complete) < len(levels):
        comment = "{" + ", ".join(f'"{level}"' for level in levels) + "}"
        source = source.replace(f"  # search: {comment}", "")
    return Table(losses, sigma, {**GRID, last: complete}, source, len(all_rows))


def run_policies(seeds: int, names: Sequence[str]) -> dict[str, list[list[float]]]:
    """For each policy and seed the loss handed over at each checkpoint."""
    jobs = [(name, seed) for seed in range(seeds) for name in names]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(run_one, jobs, chunksize=2))
    results: dict[str, list[list[float]]] = {name: [] for name in names}
    for (name, _), outcome in zip(jobs, outcomes, strict=True):
        results[name].append(outcome)
    return results


def run_one(job: tuple[str, int]) -> list[float]:
    name, seed = job
    return POLICIES[name](load_table(), seed)


def random_search(table: Table, seed: int) -> list[float]:
    rng = random.Random(seed)
    start = table.start(rng)
    settings = [start, *rng.sample([item for item in table.settings() if item != start], CHECKPOINTS[-1])]
    observed = [table.run(setting, rng) for setting in settings]
    chosen = [min(range(1 + trials), key=observed.__getitem__) for trials in CHECKPOINTS]
    return [table.losses[key_of(settings[index])] for index in chosen]


def plain_tpe(table: Table, seed: int) -> list[float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rng = random.Random(seed)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    start = table.start(rng)
    known = {name: start[name] for name in spaces(table)}
    study.add_trial(
        optuna.trial.create_trial(
            value=table.run(start, rng),
            params=known,
            distributions={name: distribution(space) for name, space in spaces(table).items()},
        )
    )
    running, runs, handed_over = [], {key_of(start): [study.trials[0].value]}, []
    for trials in range(1, CHECKPOINTS[-1] + 1):
        while len(running) < 2:
            running.append(study.ask({name: distribution(space) for name, space in spaces(table).items()}))
        trial = running.pop(0)
        setting = start | dict(trial.params)
        loss = table.run(setting, rng)
        study.tell(trial, loss)
        runs.setdefault(key_of(setting), []).append(loss)
        if trials in CHECKPOINTS:
            handed_over.append(table.losses[min(runs, key=lambda key: fmean(runs[key]))])
    return handed_over


def spaces(table: Table) -> dict[str, Int | Choice]:
    return {name: constant.space for name, constant in parse(table.source).items() if constant.space is not None}


def distribution(space: Int | Choice):
    from optuna.distributions import CategoricalDistribution, IntDistribution

    return IntDistribution(space.low, space.high) if isinstance(space, Int) else CategoricalDistribution(space.values)


def swarm_with(*arms: str, moved: int | None = MOVED) -> Policy:
    def policy(table: Table, seed: int) -> list[float]:
        source = assign(table.source, table.start(random.Random(seed)))
        study = ReplayStudy(source, arms, seed, table.run, moved=moved)
        handed_over = []
        for trials in CHECKPOINTS:
            study.run(until=trials)
            handed_over.append(table.losses[key_of(study.incumbent)])
        return handed_over

    return policy


POLICIES: dict[str, Policy] = {
    "random": random_search,
    "tpe": plain_tpe,
    "embedded": swarm_with("tpe", "climb", "recombine"),
    "arm_tpe": swarm_with("tpe"),
    "arm_all": swarm_with("tpe", moved=None),
}
MORE = ("arm_tpe", "arm_all")


def print_table(table: Table, results: Mapping[str, Sequence[Sequence[float]]]) -> None:
    seeds = len(results["embedded"])
    print(
        f"{table.trainings} trainings; a complete grid of {len(table.losses)} settings, "
        f"losses {table.best:.3f} to {max(table.losses.values()):.3f}, "
        f"noise {table.sigma:.4f}; {seeds} seeds a policy\n"
    )
    print(f"{'policy':10}" + "".join(f"{f'loss after {trials} trials':>34}" for trials in CHECKPOINTS))
    for name, outcomes in results.items():
        cells = []
        for column in range(len(CHECKPOINTS)):
            low, high = interval([outcome[column] for outcome in outcomes])
            cells.append(f"{fmean(o[column] for o in outcomes):.4f} [{low:.4f}, {high:.4f}]")
        print(f"{name:10}" + "".join(f"{cell:>34}" for cell in cells))
    print(f"\n{'embedded minus':16}{'trials':>7}{'difference':>12}{'95 % interval':>22}{'p, one-sided':>14}")
    for other in [name for name in results if name != "embedded"]:
        for column, trials in enumerate(CHECKPOINTS):
            ours, theirs = ([o[column] for o in results[name]] for name in ("embedded", other))
            low, high = difference_interval(ours, theirs)
            bounds = f"[{low:+.4f}, {high:+.4f}]"
            p = permutation_p(ours, theirs)
            print(f"{other:16}{trials:>7}{fmean(ours) - fmean(theirs):>+12.4f}{bounds:>22}{p:>14.4f}")
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


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Bootstrap interval of the mean, 95 %."""
    draws = np.random.default_rng(0).choice(np.asarray(values), (RESAMPLES, len(values)))
    low, high = np.quantile(draws.mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def difference_interval(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Bootstrap interval of the difference of the means, 95 %, seeds unpaired."""
    rng = np.random.default_rng(0)
    first, second = (rng.choice(np.asarray(v), (RESAMPLES, len(v))).mean(axis=1) for v in (ours, theirs))
    low, high = np.quantile(first - second, [0.025, 0.975])
    return float(low), float(high)


def permutation_p(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Chance that labels by lot give a difference as much in our favour."""
    rng = np.random.default_rng(0)
    pooled, count = np.asarray([*ours, *theirs]), len(ours)
    shuffled = rng.permuted(np.tile(pooled, (RESAMPLES, 1)), axis=1)
    differences = shuffled[:, :count].mean(axis=1) - shuffled[:, count:].mean(axis=1)
    return float((1 + np.sum(differences <= fmean(ours) - fmean(theirs))) / (1 + RESAMPLES))


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
