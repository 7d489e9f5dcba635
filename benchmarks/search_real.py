"""Search policies on real trainings of both targets: the embedded default against Optuna's TPE.

    python benchmarks/search_real.py [--targets resnext efficientnet] [--seeds 12] [--first-seed 200] [--trials 60]
                                     [--policies tpe embedded] [--jobs 2] [--until 10:40] [--print-only] [--json]

The programs are those of models/ with shapes that suit the budget (SHAPES) and their other constants and spaces as
declared; the data is the stand-in. A training costs a target's BUDGET_S of reckoned work
(benchmarks/standin_training.py) and is scored on half of the validation images. Seeds come one after the other, all
targets and policies of a seed in turn, `--jobs` at a time. Trainings are kept in `--trainings`: a run that was ended
goes on there. What each study came to is kept in `--record`: what is found there is printed and not run again, also
when a policy has changed since. `--until` starts no study after that time of day. A comparison has the seeds of which
both sides are recorded.

Every policy starts from the program as it comes, and knows its loss for nothing; seeds differ in the policies' choices
and in the seeds of the trainings.

    random     settings by lot; hands over the best single run
    tpe        optuna.samplers.TPESampler as it comes, told of the start, two trials at a time; hands over the best mean
    embedded   the swarm as it comes without a key, two workers: dispatch, all four arms, verdicts, replicates
    constants  the same without the edit library, so that it has the same programs to choose from as the other two
    warm       the embedded default with an earlier study in its brain: the embedded one of the next seed (for the last
               seed, of the first), of `--trials`; compared with the embedded one that knows of none
    NAME@0039  what NAME was in the state of that decision, or commit: recorded, and not to be run again

Replicates count as trials; the five runs for the noise floor come on top for the swarm. What a policy hands over is
trained again on FRESH seeds and scored on the other validation images: that loss is the policy's result.

`--json` prints one line a comparison: `target`, `policy`, `against`, `trials`, `difference` (mean of policy minus
against, nats; less is better), `interval` (95 %, bootstrap over seeds, paired), `p` (one-sided, by permutation), `n`
(seeds of both).
"""

import argparse
import json
import math
import re
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from standin_training import Trainings  # first: it loads torch in a way that forks survive

# isort: split
from comparison import comparisons, print_curves
from plain import Policy, Run, plain_tpe, random_search, seed_of
from replay_study import ReplayStudy

from swarm.records import FailReason

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "benchmarks" / "data"
RECORD = DATA / "search_real_results.jsonl"
TRAININGS = DATA / "search_real.jsonl"

BUDGET_S = {"resnext": 0.8, "efficientnet": 0.5}  # reckoned; about 1.6 s of CPU time each
SHAPES = {  # what fits into the budget; stems of stride 4, as most of the work is where the maps are large
    "resnext": {
        "WIDTH": "WIDTH = 16  # search: {8, 16, 24, 32, 48}",
        "BLOCKS": "BLOCKS = 1  # search: int(1, 3)",
        "STEM_STRIDE": "STEM_STRIDE = 4",
        "BATCH_SIZE": "BATCH_SIZE = 64  # search: {32, 64, 128, 256}",
    },
    "efficientnet": {
        "WIDTH": "WIDTH = 0.25  # search: linear(0.25, 1.0)",
        "DEPTH": "DEPTH = 0.25  # search: linear(0.25, 1.0)",
        "EXPANSION": "EXPANSION = 3  # search: int(1, 6)",
        "STEM_STRIDE": "STEM_STRIDE = 4",
        "HEAD": "HEAD = 128  # search: int(64, 512)",
        "BATCH_SIZE": "BATCH_SIZE = 64  # search: {32, 64, 128, 256}",
    },
}
CHECKPOINTS = (10, 20, 30, 40, 60)
FRESH = 3
GUESSING = math.log(100)
COMPARED = (
    ("embedded", "tpe"),
    ("embedded", "random"),
    ("constants", "tpe"),
    ("warm", "embedded"),
    ("embedded@0039", "tpe"),
    ("warm@0039", "embedded@0039"),
    ("embedded@fe4bcf2", "tpe"),
    ("embedded@0047", "tpe"),
    ("embedded@0048", "tpe"),
)


class Job(NamedTuple):
    """One study."""

    target: str
    policy: str
    seed: int
    earlier_seed: int  # of the study that `warm` is told of
    trials: int
    trainings: Path
    until: str | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--policies", nargs="+", choices=list(POLICIES), default=["tpe", "embedded"])
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--first-seed", type=int, default=200)
    parser.add_argument("--trials", type=int, choices=CHECKPOINTS, default=CHECKPOINTS[-1], help="a policy and seed")
    parser.add_argument("--record", type=Path, default=RECORD, help="what studies came to; goes on where it ends")
    parser.add_argument("--trainings", type=Path, default=TRAININGS, help="as far as they are known")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--until", metavar="HH:MM", help="start no study after this time of day")
    parser.add_argument("--print-only", action="store_true", help="run nothing that is not recorded")
    parser.add_argument("--json", action="store_true", help="the comparisons alone, one JSON line each")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    if not options.print_only:
        known = recorded(options.record)
        jobs = [
            Job(target, policy, seed, next_seed(seed, seeds), options.trials, options.trainings, options.until)
            for seed in seeds
            for target in options.targets
            for policy in options.policies
        ]
        run_all([job for job in jobs if options.trials not in known.get(job[:3], {})], options.record, options.jobs)
    results = {key: curve for key, curve in recorded(options.record).items() if key[2] in seeds}
    if not options.json:
        print_curves(results, options.targets, CHECKPOINTS)
    for line in comparisons(results, options.targets, COMPARED, CHECKPOINTS):
        print(json.dumps(line))


def next_seed(seed: int, seeds: range) -> int:
    return seeds[(seeds.index(seed) + 1) % len(seeds)]


def run_all(jobs: Sequence[Job], record: Path, at_a_time: int) -> None:
    """Runs the studies in order and records each as it ends."""
    with ProcessPoolExecutor(at_a_time) as workers:
        for job, outcome in zip(jobs, workers.map(run_one, jobs), strict=True):
            if outcome is not None:
                _append(record, {"target": job.target, "policy": job.policy, "seed": job.seed, "losses": outcome})


def run_one(job: Job) -> dict[int, float] | None:
    """The re-measured losses of one study; None where it is too late to start it."""
    if job.until is not None and datetime.now().strftime("%H:%M") >= job.until:
        return None
    trainings = open_trainings(job.trainings, BUDGET_S[job.target])

    def run(program: str, trial_seed: int) -> float | FailReason:
        training = trainings.run(program, trial_seed)
        return FailReason(training.reason) if training.loss is None else training.loss

    checkpoints = [trials for trials in CHECKPOINTS if trials <= job.trials]
    start = base_source(job.target)
    if job.policy == "warm":
        handed_over = warm_study(start, job.seed, run, checkpoints, job.earlier_seed)
    else:
        handed_over = POLICIES[job.policy](start, job.seed, run, checkpoints)
    print(f"{job.target}, seed {job.seed}, {job.policy}: its trials are done", file=sys.stderr, flush=True)
    fresh = [fmean(fresh_losses(trainings, program, job.seed)) for program in handed_over]
    return dict(zip(checkpoints, fresh, strict=True))


def fresh_losses(trainings: Trainings, program: str, seed: int) -> list[float]:
    """Of a program that was handed over. One that fails is worth a guess."""
    fresh = [trainings.run(program, seed_of(seed, -1 - place), "final").loss for place in range(FRESH)]
    return [GUESSING if loss is None else loss for loss in fresh]


@cache
def open_trainings(file: Path, budget_s: float) -> Trainings:
    return Trainings(file, budget_s)


def base_source(target: str = "resnext") -> str:
    """The target's program with shapes that fit into the budget."""
    source = (ROOT / "models" / target / "train.py").read_text()
    for name, declaration in SHAPES[target].items():
        source, count = re.subn(rf"(?m)^{name} = .*$", declaration, source)
        assert count == 1, f"models/{target} declares {name} {count} times"
    return source


def swarm_with(*arms: str) -> Policy:
    def policy(start: str, seed: int, run: Run, checkpoints: Sequence[int]) -> list[str]:
        study = ReplayStudy(start, arms, seed, run)
        return [study.run(until=trials) for trials in checkpoints]

    return policy


DEFAULT_ARMS = ("model-based", "climb", "library", "recombine")


def warm_study(start: str, seed: int, run: Run, checkpoints: Sequence[int], earlier_seed: int) -> list[str]:
    """The embedded default in the brain of the embedded study with another seed."""
    earlier = ReplayStudy(start, DEFAULT_ARMS, earlier_seed, run)
    earlier.run(until=CHECKPOINTS[-1])
    study = ReplayStudy(start, DEFAULT_ARMS, seed, run, earlier=earlier.records)
    return [study.run(until=trials) for trials in checkpoints]


POLICIES: dict[str, Policy] = {
    "random": random_search,
    "tpe": plain_tpe,
    "embedded": swarm_with(*DEFAULT_ARMS),
    "constants": swarm_with("model-based", "climb", "recombine"),
    "warm": warm_study,  # type: ignore[dict-item]  # needs to be told which earlier study
}


def recorded(record: Path) -> dict[tuple[str, str, int], dict[int, float]]:
    """By target, policy and seed the re-measured losses; of a study that is there twice, the first."""
    results: dict[tuple[str, str, int], dict[int, float]] = {}
    for line in record.read_text().splitlines() if record.exists() else []:
        raw = json.loads(line)
        losses = results.setdefault((raw["target"], raw["policy"], raw["seed"]), {})
        for trials, loss in raw["losses"].items():
            losses.setdefault(int(trials), loss)
    return results


def _append(record: Path, line: dict[str, object]) -> None:
    with record.open("a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
