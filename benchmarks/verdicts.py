"""How often a night keeps something false, and finds what is there: by simulation, through the functions of `swarm up`.

    python benchmarks/verdicts.py [--nights 1000] [--json]

Each row is a kind of night (`swarm.verdict.nights`) under a rule: ours, landed (version 0.1), greedy. A night has 100
slots, noise floor and finals included, and two workers. The numbers:

    false_nights           share of nights of nulls in which something was kept
    power_2_sigma          share of nights with one planted gain of 2 sigma in which what is kept carries it
    power_3_sigma          the same with 3 sigma
    told_minus_true_sigma  gain shown in the morning minus true gain of that program, mean over the nights with a
                           planted gain in which a gain is shown: ours shows one for the winner of the finals, kept or
                           not, the others for what they kept or else what leads
    told_minus_true_kept   the same over nights in which something was kept only: what passes a test was lucky too

Landed calls kept what it confirmed; greedy calls kept what it ends with.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from statistics import fmean
from typing import Any

from verdict_landed import Greedy, Landed

from swarm.verdict.nights import KINDS, Kind, Rule, World, spend
from swarm.verdict.simulation import Ours

RULES: dict[str, Callable[[World], Rule]] = {"ours": Ours, "landed": Landed, "greedy": Greedy}
CHUNK = 50
PROCESSES = 2


def series(rule: str, kind: Kind, gain: float, seeds: range) -> list[tuple[bool, float, float | None]]:
    """(kept, true gain of what was told, gain shown or None) of each night."""
    nights: list[tuple[bool, float, float | None]] = []
    for seed in seeds:
        world = World(kind, seed + int(1_000_000 * gain), gain)
        told = spend(RULES[rule](world), world)
        shown = told.gain if told.program is not None else None
        nights.append((told.kept, -world.true[told.program or 0], shown))
    return nights


def row(kind: Kind, rule: str, nulls: list[Any], twos: list[Any], threes: list[Any]) -> dict[str, object]:
    planted = [*twos, *threes]
    shown = [gain - true for _, true, gain in planted if gain is not None]
    kept = [gain - true for held, true, gain in planted if held and gain is not None]
    return {
        "night": kind,
        "rule": rule,
        "nights": len(nulls),
        "false_nights": round(fmean(held for held, _, _ in nulls), 4),
        "power_2_sigma": round(fmean(held and true > 0 for held, true, _ in twos), 4),
        "power_3_sigma": round(fmean(held and true > 0 for held, true, _ in threes), 4),
        "told_minus_true_sigma": round(fmean(shown), 3) if shown else None,
        "told_minus_true_kept": round(fmean(kept), 3) if kept else None,
    }


def rows(nights: int, rules: list[str], kinds: list[Kind]) -> Iterator[dict[str, object]]:
    with ProcessPoolExecutor(PROCESSES) as pool:
        jobs = {
            (kind, rule, gain): [
                pool.submit(series, rule, kind, gain, range(start, min(start + CHUNK, nights)))
                for start in range(0, nights, CHUNK)
            ]
            for kind in kinds
            for rule in rules
            for gain in (0.0, 2.0, 3.0)
        }
        for kind in kinds:
            for rule in rules:
                done = [
                    [night for part in jobs[kind, rule, gain] for night in part.result()] for gain in (0.0, 2.0, 3.0)
                ]
                yield row(kind, rule, *done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=1000)
    parser.add_argument("--rule", choices=list(RULES), action="append", help="only this one; may be repeated")
    parser.add_argument("--night", choices=KINDS, action="append", help="only this kind; may be repeated")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    asked = parser.parse_args()
    for number, one in enumerate(rows(asked.nights, asked.rule or list(RULES), asked.night or list(KINDS))):
        if asked.json:
            print(json.dumps(one), flush=True)
            continue
        if number == 0:
            print(" ".join(f"{name:>21}" for name in one))
        print(" ".join(f"{value!s:>21}" for value in one.values()), flush=True)


if __name__ == "__main__":
    main()
