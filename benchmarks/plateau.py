"""How often `--stop-at-plateau` would have ended a search that still gained.

    python benchmarks/plateau.py [--searches 40] [--surface 0] [--first-seed 300] [--trials 200] [--record FILE]

Simulated searches through the functions that `swarm up` calls, each to its end. Read afterwards is where the rule would
have ended it, and what the incumbent then lacks of the one of the full search, in sigma of a run and without noise. An
idea gains (2 sigma on average, exponential) with a chance of 15 % on the baseline; each gain that a program holds
leaves 90, 75 or 50 % of that chance (*many*, *some*, *few*). All other ideas lose as much as gains gain.

`--surface N` adds so many studies of the embedded default on the surface of recorded trainings, in nats; minutes of
CPU time each. `--record` keeps each path, and a later run with it goes on. Neither says anything about a model that
changes its mind.
"""

import argparse
import json
import random
import statistics
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from recorded_surface import Surface, recorded_surface
from replay_study import ReplayStudy

from swarm.verdict.nights import World
from swarm.verdict.plateau import FEWEST, SHARE, in_order_of_ending, stalled_for
from swarm.verdict.simulation import Ours

ARMS = ("model-based", "climb", "recombine")
RULES = ((20, 0.5), (30, 0.5), (40, 0.5), (60, 0.5))
STILL_GAINED = {"surface": 0.05}  # nats; a simulated one by a sigma
KINDS = {"many": 0.9, "some": 0.75, "few": 0.5}
CHANCE, GAIN = 0.15, 2.0
UNBOUNDED = 1_000_000  # slots: nothing is held for finals

Path_ = list[tuple[int, int, float]]  # proposals ended, those since the last new leader, true loss of the incumbent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=40, help="simulated ones of each kind")
    parser.add_argument("--surface", type=int, default=0)
    parser.add_argument("--first-seed", type=int, default=300)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    known = read(options.record)
    wanted = [
        (kind, seed) for kind in KINDS for seed in range(options.first_seed, options.first_seed + options.searches)
    ]
    wanted += [("surface", seed) for seed in range(options.first_seed, options.first_seed + options.surface)]
    for kind, seed in wanted:
        if (kind, seed, options.trials) in known:
            continue
        if kind == "surface":
            path = path_of(recorded_surface(), seed, options.trials)
        else:
            path = simulated(Search(KINDS[kind], seed), options.trials)
        known[kind, seed, options.trials] = path
        if options.record is not None:
            with options.record.open("a") as file:
                file.write(json.dumps([kind, seed, options.trials, path]) + "\n")
    for kind in dict.fromkeys(kind for kind, _ in wanted):
        paths = [known[kind, seed, options.trials] for one, seed in wanted if one == kind]
        for rule in sorted({*RULES, (FEWEST, SHARE)}):
            print(
                json.dumps(
                    {"kind": kind, "trials": options.trials, **outcome(paths, *rule, STILL_GAINED.get(kind, 1.0))}
                )
            )


class Search(World):
    """A search whose ideas gain the more rarely, the more gains a program holds already."""

    def __init__(self, left: float, seed: int) -> None:
        super().__init__("equal", seed, 0.0, slots=UNBOUNDED)
        self._left, self._lot, self._gains = left, random.Random(seed), [0]

    def idea(self, parent: int) -> int:
        gains = self._gains[parent]
        better = self._lot.random() < CHANCE * self._left**gains
        self.true.append(self.true[parent] + (-1 if better else 1) * self._lot.expovariate(1 / GAIN))
        self.scatter.append(1.0)
        self._gains.append(gains + better)
        return len(self.true) - 1


def simulated(world: Search, trials: int) -> Path_:
    ours, running, path = Ours(world), [], []
    while len(path) < trials:
        while len(running) < world.workers:
            number = ours.claim()
            assert number is not None
            running.append(number)
        number = running.pop(0)
        ours.finish(number, world.run(number))
        study = ours.study
        assert study.incumbent is not None
        true = world.true[ours.number_of(study.incumbent.name)]
        path.append((len(in_order_of_ending(study)), stalled_for(study), round(true, 4)))
    return path


def path_of(surface: Surface, seed: int, trials: int) -> Path_:
    study, path = ReplayStudy(surface.source, ARMS, seed, surface.run), []
    for count in range(1, trials + 1):
        program = study.run(until=count)
        path.append((len(in_order_of_ending(study.study)), stalled_for(study.study), round(surface.loss(program), 5)))
    print(f"seed {seed}: {path[-1]}", file=sys.stderr, flush=True)
    return path


def outcome(paths: list[Path_], fewest: int, share: float, much: float) -> dict[str, object]:
    """Of one rule over all studies."""
    ends = [end for path in paths if (end := _end(path, fewest, share)) is not None]
    lost = [at_end - then for _, then, at_end in ends]
    return {
        "fewest": fewest,
        "share": share,
        "studies": len(paths),
        "ended": len(lost),
        "median_trial": statistics.median(end[0] for end in ends) if lost else None,
        "still_gained": sum(-change > much for change in lost),
        "mean_lost": round(-statistics.fmean(lost), 4) if lost else None,
        "most_lost": round(-min(lost), 4) if lost else None,
    }


def _end(path: Path_, fewest: int, share: float) -> tuple[int, float, float] | None:
    """The trial at which the rule ends this study, the loss then, and that of the full search."""
    found = ((trial, loss) for trial, (ended, since, loss) in enumerate(path, 1) if since >= max(fewest, share * ended))
    return next(((trial, loss, path[-1][2]) for trial, loss in found), None)


def read(record: Path | None) -> dict[tuple[str, int, int], Path_]:
    if record is None or not record.exists():
        return {}
    lines = (json.loads(line) for line in record.read_text().splitlines())
    return {(kind, seed, trials): [tuple(point) for point in path] for kind, seed, trials, path in lines}


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
