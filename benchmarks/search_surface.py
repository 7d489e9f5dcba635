"""Search policies on a surface fitted to recorded trainings: a guide in a minute, and no evidence.

    python benchmarks/search_surface.py [--seeds 12] [--first-seed 200] [--policies tpe former embedded] [--json]

The surface is that of benchmarks/recorded_surface.py; a result is its loss, without noise, of what a policy hands over.
It has constants alone, so no policy has the edit library here.

    tpe        optuna.samplers.TPESampler as it comes, two trials at a time
    gpsampler  optuna.samplers.GPSampler in its place; needs scipy, which this project does not install
    former     the swarm with its tpe arm where the model-based one is now
    embedded   the swarm as it comes without a key
    warm       the same for 20 trials, with the embedded study of the next seed in its brain

`--json` prints lines as benchmarks/search_real.py does.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from comparison import comparisons, print_curves
from plain import Run, plain_tpe
from recorded_surface import recorded_surface
from replay_study import ReplayStudy

CHECKPOINTS = (10, 20, 30, 40, 60)
WARM_TRIALS = 20
SURFACE = "surface"
COMPARED = (("embedded", "tpe"), ("embedded", "former"), ("embedded", "gpsampler"), ("warm", "embedded"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--first-seed", type=int, default=200)
    parser.add_argument("--policies", nargs="+", choices=list(POLICIES), default=["tpe", "former", "embedded"])
    parser.add_argument("--json", action="store_true", help="the comparisons alone, one JSON line each")
    options = parser.parse_args()
    surface = recorded_surface()
    results = {}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for policy in options.policies:
            checkpoints = [trials for trials in CHECKPOINTS if policy != "warm" or trials <= WARM_TRIALS]
            handed_over = POLICIES[policy](surface.source, seed, surface.run, checkpoints)
            losses = [surface.loss(program) for program in handed_over]
            results[SURFACE, policy, seed] = dict(zip(checkpoints, losses, strict=True))
            print(f"seed {seed}, {policy}: {[round(loss, 3) for loss in losses]}", file=sys.stderr, flush=True)
    if not options.json:
        print_curves(results, [SURFACE], CHECKPOINTS)
    for line in comparisons(results, [SURFACE], COMPARED, CHECKPOINTS):
        print(json.dumps(line))


def plain_gpsampler(start: str, seed: int, run: Run, checkpoints: Sequence[int]) -> list[str]:
    import optuna

    return plain_tpe(start, seed, run, checkpoints, optuna.samplers.GPSampler(seed=seed))


def swarm_with(sampler: str):
    def policy(start: str, seed: int, run: Run, checkpoints: Sequence[int]) -> list[str]:
        study = ReplayStudy(start, (sampler, "climb", "recombine"), seed, run)
        return [study.run(until=trials) for trials in checkpoints]

    return policy


def warm(start: str, seed: int, run: Run, checkpoints: Sequence[int]) -> list[str]:
    arms = ("model-based", "climb", "recombine")
    earlier = ReplayStudy(start, arms, seed + 1, run)
    earlier.run(until=CHECKPOINTS[-1])
    study = ReplayStudy(start, arms, seed, run, earlier=earlier.records)
    return [study.run(until=trials) for trials in checkpoints]


POLICIES = {
    "tpe": plain_tpe,
    "gpsampler": plain_gpsampler,
    "former": swarm_with("tpe"),
    "embedded": swarm_with("model-based"),
    "warm": warm,
}


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
