"""What early stopping saves and what it harms, on recorded trainings of edits and of good programs.

    python benchmarks/early_stop.py [--orders 200] [--file benchmarks/data/curves.jsonl] [--json]

The trainings are those of `benchmarks/record_curves.py`: every one ran to its end, with its losses at the rungs. They
are replayed as studies in random orders, in which a change comes after the program that it changes, and a program that
others build on gets its two more seeds at once: real claims, real verdicts, and the rule at each rung. A trial that is
ended costs what it had used at that rung.

rule     `parent`: swarm.verdict.early_stop, once it is allowed to end trials
         `parent, first night`: the same from a brain without audits, so that it has to show first that it harms nobody
         `landed`: what there was before, a regression over all finished trials at 25 and 50 %
harm     of the trials that would have beaten the incumbent of their moment, the share that was ended. `upper` is the
         one-sided 95 % bound over distinct programs (those ended in any order, of those that would have led in any):
         orders of the same trainings are no new evidence
gain     how many times as many trials fit into the same training budget, mean over the orders
"""

import argparse
import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Literal, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from landed_early_stop import LANDED_RUNGS, landed_look

from swarm import verdict
from swarm.records import (
    Budget,
    FailReason,
    Operator,
    ProposalClaimed,
    Record,
    Score,
    StudyOpened,
    TrialFinished,
    TrialStarted,
    TrialState,
)
from swarm.study.state import StudyState
from swarm.verdict.early_stop import RUNGS, is_audited, look, outlook, upper_bound

FILE = Path(__file__).resolve().parent / "data" / "curves.jsonl"
NOISE_REPLICATES = 5
MORE_SEEDS = 2  # of a program that others build on
ORDERS = 200
Action = Literal["go_on", "audit", "stop"]


class Curve(NamedTuple):
    """One recorded training. `loss` or `reason` is None; `rungs` are (share of the budget, loss on the rung slice)."""

    name: str
    parent: str | None
    kind: str
    family: str
    seed: int
    loss: float | None
    reason: str | None
    rungs: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Rule:
    """`look` judges a trial at one of `rungs`."""

    name: str
    rungs: tuple[float, ...]
    look: Callable[[StudyState, str, float, float], Action]


def _parent(study: StudyState, trial_id: str, progress: float, loss: float) -> Action:
    action = outlook(study, trial_id, progress, loss).action
    return "audit" if action == "stop" and is_audited(study.study_id, trial_id) else action


RULES = (
    Rule("parent", RUNGS, _parent),
    Rule("parent, first night", RUNGS, lambda study, trial_id, at, loss: look(study, trial_id, at, loss).action),
    Rule("landed", LANDED_RUNGS, landed_look),
)


@dataclass
class Tally:
    """What one rule did over all orders. `led` and `harmed` are names of programs."""

    trials: int = 0
    ended: int = 0
    chances: int = 0
    lost: int = 0
    gains: list[float] = field(default_factory=list)
    led: set[str] = field(default_factory=set)
    harmed: set[str] = field(default_factory=set)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--file", type=Path, default=FILE, help="recorded trainings")
    parser.add_argument("--json", action="store_true", help="the figures alone, one JSON line each")
    options = parser.parse_args()
    curves = read(options.file)
    figures = [figure(rule, tally(rule, curves, options.orders), options.orders) for rule in RULES]
    if not options.json:
        print_table(figures, curves)
    for one in figures:
        print(json.dumps(one))
    return 0


def read(file: Path) -> list[Curve]:
    """An unfinished last line is left out."""
    rows = [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [Curve(*(row[name] for name in Curve._fields[:-1]), tuple(map(tuple, row["rungs"]))) for row in rows]


def tally(rule: Rule, curves: Sequence[Curve], orders: int) -> Tally:
    found = Tally()
    for seed in range(orders):
        writer = Writer(f"order-{seed}", rule)
        for curve in in_order(curves, seed):
            writer.trial(curve, found)
        found.gains.append(writer.trials / writer.used)
    return found


def in_order(curves: Sequence[Curve], seed: int) -> list[Curve]:
    """The noise floor, then all programs by lot; one whose parent has not come yet waits until it has."""
    rng = random.Random(seed)
    seeds: dict[str, list[Curve]] = {}
    for curve in curves:
        if curve.kind == "base":
            seeds.setdefault(curve.name, []).append(curve)
    first = next(name for name, runs in seeds.items() if runs[0].parent is None)
    runs = seeds.pop(first)
    waiting = [[curve] for curve in curves if curve.kind != "base"]
    waiting += [rng.sample(own, len(own))[: 1 + MORE_SEEDS] for own in seeds.values()]
    rng.shuffle(waiting)
    known, order = {first}, rng.sample(runs, len(runs))[:NOISE_REPLICATES]
    while waiting:
        place = next(place for place, group in enumerate(waiting) if group[0].parent in known)
        group = waiting.pop(place)
        known.add(group[0].name)
        order += group
    return order


class Writer:
    """A study in memory, filled as the workers would: claim, start, looks at the rungs, end, verdicts."""

    def __init__(self, study_id: str, rule: Rule) -> None:
        self._seq = 0
        self._rule = rule
        self._ids: dict[str, str] = {}
        self.study = StudyState(opened(study_id))
        self.used = 0.0
        self.trials = 0

    def trial(self, curve: Curve, found: Tally) -> None:
        again = curve.name in self._ids
        trial_id = self._begin(curve)
        incumbent = self.study.incumbent
        bar = incumbent.mean if incumbent is not None and curve.parent is not None and not again else None
        beats = curve.loss is not None and bar is not None and curve.loss < bar
        stopped_at, audited = self._look(trial_id, curve)
        self._apply(finished(trial_id, curve, stopped_at, audited=audited))
        for reached in verdict.conclude(self.study, trial_id):
            self._apply(reached)
        self.trials += 1
        self.used += 1.0 if stopped_at is None else stopped_at
        found.trials += 1
        found.ended += stopped_at is not None
        if beats:
            found.chances += 1
            found.led.add(curve.name)
        if beats and stopped_at is not None:
            found.lost += 1
            found.harmed.add(curve.name)

    def _begin(self, curve: Curve) -> str:
        trial_id = self.study.next_trial_id
        first = self._ids.setdefault(curve.name, trial_id)
        parent = self._ids[curve.parent] if curve.parent is not None else None
        if parent is None:
            operator = Operator.BASELINE
        else:
            operator = Operator.STRUCTURAL if first == trial_id else Operator.REPLICATE
        claim = ProposalClaimed(
            trial_id=trial_id,
            operator=operator,
            family=curve.family,
            parent=parent,
            program=first,
            tree_sha256=first,
            seed=curve.seed,
            read_seq=self._seq,
            proposer="recorded",
        )
        self._apply(claim)
        self._apply(TrialStarted(trial_id=trial_id, commit=first, reservation_mib=0, lease_id="", device_uuid="cpu"))
        return trial_id

    def _look(self, trial_id: str, curve: Curve) -> tuple[float | None, bool]:
        """Where the rule ends the trial (None: nowhere), and whether it was let go on as a check."""
        for progress, loss in curve.rungs:
            if progress in self._rule.rungs:
                match self._rule.look(self.study, trial_id, progress, loss):
                    case "stop":
                        return progress, False
                    case "audit":
                        return None, True
        return None, False

    def _apply(self, record: Record) -> None:
        self._seq += 1
        self.study.apply(record.model_copy(update={"seq": self._seq, "study_id": self.study.study_id}))


def finished(trial_id: str, curve: Curve, stopped_at: float | None, *, audited: bool) -> TrialFinished:
    """The record of a trial's end, as the worker would have written it."""
    if stopped_at is None and curve.loss is not None:
        return TrialFinished(
            trial_id=trial_id,
            state=TrialState.COMPLETE,
            score=Score(validation_loss=curve.loss, top1=0.0, top5=0.0, calibrated_loss=curve.loss, rows=5000),
            validation_loss=curve.loss,
            seed=curve.seed,
            rungs=curve.rungs,
            audit=audited,
        )
    return TrialFinished(
        trial_id=trial_id,
        state=TrialState.FAILED,
        reason=FailReason(curve.reason or "crashed") if stopped_at is None else FailReason.PRUNED,
        seed=curve.seed,
        rungs=tuple(rung for rung in curve.rungs if stopped_at is None or rung[0] <= stopped_at),
        audit=audited,
    )


def opened(study_id: str) -> StudyOpened:
    return StudyOpened(
        study_id=study_id,
        target="resnext",
        target_folder="models/resnext",
        editable="train.py",
        base_commit="",
        base_tree_sha256="",
        objective_sha256="",
        harness_sha256="",
        program_sha256="",
        budget=Budget(kind="samples", amount=1, walltime_limit_s=1),
        data="standin",
        classes=100,
        device="cpu",
        device_name="cpu",
        workers=1,
        seed=0,
        noise_replicates=NOISE_REPLICATES,
    )


def figure(rule: Rule, found: Tally, orders: int) -> dict[str, object]:
    return {
        "bench": f"early_stop {rule.name}",
        "rule": rule.name,
        "ours": round(fmean(found.gains), 4),
        "baseline": 1.0,
        "ratio": round(fmean(found.gains), 4),
        "unit": "trials in the same budget",
        "n": found.trials // orders,
        "orders": orders,
        "ended_share": round(found.ended / found.trials, 4),
        "would_have_led": found.chances,
        "lost": found.lost,
        "lost_share": round(found.lost / found.chances, 5) if found.chances else None,
        "programs_that_would_have_led": len(found.led),
        "programs_lost": len(found.harmed),
        "upper": round(upper_bound(len(found.harmed), len(found.led)), 4) if found.led else None,
        "names_lost": sorted(found.harmed),
    }


def print_table(figures: Sequence[Mapping[str, object]], curves: Sequence[Curve]) -> None:
    print(f"{len(curves)} trainings\n")
    print("| rule | ended | would have led, and were ended | of distinct programs (95 % bound) | trials an hour |")
    print("|---|---|---|---|---|")
    for one in figures:
        print(
            f"| {one['rule']} | {one['ended_share']:.1%} | {one['lost']} of {one['would_have_led']} "
            f"| {one['programs_lost']} of {one['programs_that_would_have_led']} ({one['upper']:.1%}) "
            f"| {one['ratio']:.2f} |"
        )
    print()


if __name__ == "__main__":
    sys.exit(main())
