"""A certificate: what is kept and the baseline, on fresh seeds and then on the test split. Pure.

The finals choose a winner among several, on the validation images that the whole search has looked at. A certificate
chooses nobody: each program and the baseline train on the same fresh seeds and are scored on the validation split, and
then each of these trainings once on the test split, which nothing in the study has seen. What the gain loses from one
to the other was fitted to the validation images.

Its lines are of the audit and no research records. Costs: less is better.
"""

import hashlib
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from swarm.records import Line
from swarm.trial.config import Split
from swarm.verdict.evidence import (
    NoiseFloor,
    PairedDifference,
    measure_noise,
    own_noise,
    paired_difference,
    welch,
)

SEEDS = 5
MOST_SEEDS = 50


class _Entry(BaseModel):
    """One line of the audit. `number` counts the certificates of a study: how often its test split was looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: float
    study_id: Line
    number: int = Field(ge=1)


class CertificateBegun(_Entry):
    """What is to be run. `again`: an earlier certificate of the study had looked at the test split already."""

    kind: Literal["certificate_begun"] = "certificate_begun"
    baseline: Line
    programs: tuple[Line, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    again: bool = False


class CertificateRun(_Entry):
    """One training. `value` is the objective's on that split; None and a reason when it failed. `items`: its parts, one
    an item of that split in the data's order, where the study's noise is that of items."""

    kind: Literal["certificate_run"] = "certificate_run"
    program: Line
    split: Split
    seed: int
    value: float | None
    top1: float | None = None
    items: tuple[float, ...] = ()
    reason: Line = ""


class Gain(BaseModel):
    """Mean cost of the baseline minus that of the program, with its 95 % interval; positive is better."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gain: float
    low: float
    high: float
    runs: int
    baseline_runs: int


class Certified(BaseModel):
    """One program. A gain is None where one side has no result; `lost` is `validation` minus `test`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    program: Line
    validation: Gain | None
    test: Gain | None
    lost: float | None
    lost_low: float | None
    lost_high: float | None


class Certificate(_Entry):
    """The end: every run that was begun has been made."""

    kind: Literal["certificate"] = "certificate"
    again: bool
    programs: tuple[Certified, ...]


@dataclass(frozen=True, slots=True)
class Owed:
    """One run that a certificate owes."""

    program: str
    split: Split
    seed: int


def fresh_seeds(study_seed: int, number: int, count: int, used: Collection[int]) -> tuple[int, ...]:
    """Seeds that no trial of the study and no earlier certificate has used."""
    found: list[int] = []
    turn = 0
    while len(found) < count:
        text = f"{study_seed}/certify/{number}/{turn}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        if seed not in used and seed not in found:
            found.append(seed)
        turn += 1
    return tuple(found)


def owed(begun: CertificateBegun, made: Sequence[CertificateRun]) -> list[Owed]:
    """What is left to run, in order: the validation split first, so that the test split is looked at once, at the end.

    Interleaved, forth with one seed and back with the next, so that a slow drift of the machine meets all alike.
    """
    have = {(run.program, run.split, run.seed) for run in made}
    return [one for one in _all(begun) if (one.program, one.split, one.seed) not in have]


def conclude(
    begun: CertificateBegun,
    made: Sequence[CertificateRun],
    noise: NoiseFloor | None,
    at: float,
    *,
    maximized: bool = False,
) -> Certificate:
    """What the runs say. `noise` is the study's, pooled with that of these runs and shrunk to by each program. Where
    the items scatter more than the runs do, an interval is that of the paired items, as in the finals."""
    sign = -1.0 if maximized else 1.0

    def costs(program: str, split: Split) -> list[float]:
        runs = [run for run in made if (run.program, run.split) == (program, split)]
        return [sign * run.value for run in runs if run.value is not None]

    def by_item(program: str, split: Split) -> PairedDifference | None:
        mine, theirs = (_items(made, name, split, sign) for name in (program, begun.baseline))
        return paired_difference(mine, theirs) if mine and theirs else None

    everybody = (begun.baseline, *begun.programs)
    pooled = _pooled([costs(name, split) for name in everybody for split in ("val", "test")], noise)
    certified = []
    for name in begun.programs:
        validation, test = (
            _gain(costs(name, split), costs(begun.baseline, split), pooled, by_item(name, split))
            for split in ("val", "test")
        )
        certified.append(_certified(name, validation, test))
    return Certificate(
        at=at, study_id=begun.study_id, number=begun.number, again=begun.again, programs=tuple(certified)
    )


def _all(begun: CertificateBegun) -> Iterator[Owed]:
    everybody = (begun.baseline, *begun.programs)
    splits: tuple[Split, ...] = ("val", "test")
    for split in splits:
        for turn, seed in enumerate(begun.seeds):
            for name in everybody if turn % 2 == 0 else reversed(everybody):
                yield Owed(name, split, seed)


def _items(made: Sequence[CertificateRun], program: str, split: Split, sign: float) -> list[list[float]]:
    """The costs of each item, a row a run."""
    runs = [run for run in made if (run.program, run.split) == (program, split)]
    return [[sign * value for value in run.items] for run in runs if run.items]


def _pooled(groups: Sequence[Sequence[float]], noise: NoiseFloor | None) -> NoiseFloor | None:
    own = measure_noise(groups)
    if own is None or noise is None:
        return own or noise
    degrees = own.degrees + noise.degrees
    return NoiseFloor(math.sqrt((own.sigma**2 * own.degrees + noise.sigma**2 * noise.degrees) / degrees), degrees)


def _gain(
    mine: Sequence[float], theirs: Sequence[float], noise: NoiseFloor | None, items: PairedDifference | None
) -> Gain | None:
    if not mine or not theirs or noise is None:
        return None
    test = welch(mine, theirs, (own_noise(mine, noise), own_noise(theirs, noise)), items)
    gain = fmean(theirs) - fmean(mine)
    return Gain(gain=gain, low=-test.high, high=-test.low, runs=len(mine), baseline_runs=len(theirs))


def _certified(name: str, validation: Gain | None, test: Gain | None) -> Certified:
    """The two half widths are added in squares, as if seeds were drawn anew: equal seeds can only make it narrower."""
    if validation is None or test is None:
        return Certified(program=name, validation=validation, test=test, lost=None, lost_low=None, lost_high=None)
    lost = validation.gain - test.gain
    reach = math.hypot(validation.high - validation.gain, test.high - test.gain)
    return Certified(
        program=name, validation=validation, test=test, lost=lost, lost_low=lost - reach, lost_high=lost + reach
    )
