"""What the constants of a study's programs were, and how much the result moved when one of them was edited. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from swarm.records import Scalar
from swarm.study.lineage import parent_of
from swarm.study.state import Program, StudyState

SURE = 0.95  # of the intervals
NORMAL_MEDIAN = 0.6744898  # of |N(0, 1)|
_EXACT = 300  # edits up to which the interval's ranks are counted from the binomial distribution


@dataclass(frozen=True, slots=True)
class Edit:
    """A program that changed the constant, and its mean cost minus its parent's; negative is better."""

    program: str
    before: Scalar | None
    after: Scalar | None
    difference: float
    alone: bool


@dataclass(frozen=True, slots=True)
class Effect:
    """Of all edits of one constant. `typical` is the median size of the change of the result.

    `low` and `high` are its 95 % interval by order statistics, which asks nothing of the distribution; with fewer than
    six edits there is none of that confidence and the whole range stands there (`sure` is False). `noise` is what the
    median would be if no edit did anything: `NORMAL_MEDIAN` standard errors of such differences.
    """

    constant: str
    edits: tuple[Edit, ...]
    typical: float
    low: float
    high: float
    sure: bool
    noise: float | None

    @property
    def best(self) -> Edit:
        return min(self.edits, key=lambda edit: edit.difference)


def effects(study: StudyState, sigma: float | None) -> list[Effect]:
    """The constants with at least one edit whose program and parent both have a result, the largest effect first.

    An edit of several constants counts for each. Programs that failed or were ended early have no result, so what
    breaks a program does not show here.
    """
    found: dict[str, list[Edit]] = {}
    errors: dict[str, list[float]] = {}
    for program in study.programs.values():
        parent = parent_of(study, program)
        changed = program.first.claim.constants_changed
        if not changed or parent is None or program.mean is None or parent.mean is None:
            continue
        for name, (before, after) in changed.items():
            edit = Edit(program.name, before, after, program.mean - parent.mean, len(changed) == 1)
            found.setdefault(name, []).append(edit)
            errors.setdefault(name, []).append(1 / len(program.costs) + 1 / len(parent.costs))
    told = [_effect(name, edits, errors[name], sigma) for name, edits in found.items()]
    return sorted(told, key=lambda effect: (-effect.typical, effect.constant))


def constant_values(study: StudyState) -> Mapping[str, Mapping[str, Scalar]]:
    """Of each program, the constants that the study knows of it: its own change, else its parent's value, else what it
    was before any change. A constant that a change took away is missing."""
    values: dict[str, dict[str, Scalar | None]] = {}
    origin: dict[str, Scalar | None] = {}
    for program in study.programs.values():
        parent = parent_of(study, program)
        inherited = values.get(parent.name, {}) if parent is not None else {}
        changed = program.first.claim.constants_changed
        for name, (before, _) in changed.items():
            if name not in inherited:
                origin.setdefault(name, before)
        values[program.name] = inherited | {name: after for name, (_, after) in changed.items()}
    return {
        program: {name: value for name, value in (origin | own).items() if value is not None}
        for program, own in values.items()
    }


def tried_constants(study: StudyState, programs: Sequence[Program], most: int) -> list[str]:
    """Those with at least two values among these programs, those with the most values first."""
    values = constant_values(study)
    tried: dict[str, set[Scalar]] = {}
    for program in programs:
        for name, value in values[program.name].items():
            tried.setdefault(name, set()).add(value)
    several = sorted((name for name in tried if len(tried[name]) > 1), key=lambda name: (-len(tried[name]), name))
    return several[:most]


def median_ranks(count: int) -> tuple[int, int] | None:
    """The ranks, from 1, between which the median of a distribution lies with 95 % confidence, of so many draws.

    David and Nagaraja, Order Statistics, 3rd ed., section 7.1. None below six draws: not even the whole range does.
    """
    if count > _EXACT:
        low = math.floor((count + 1) / 2 - 0.98 * math.sqrt(count))
        return low, count + 1 - low
    tail, low = 0.0, 0
    while (tail := tail + math.comb(count, low) / 2**count) <= (1 - SURE) / 2:
        low += 1
    return (low, count + 1 - low) if low else None


def _effect(name: str, edits: list[Edit], errors: list[float], sigma: float | None) -> Effect:
    sizes = sorted(abs(edit.difference) for edit in edits)
    ranks = median_ranks(len(sizes))
    low, high = (sizes[ranks[0] - 1], sizes[ranks[1] - 1]) if ranks is not None else (sizes[0], sizes[-1])
    noise = None if sigma is None else NORMAL_MEDIAN * sigma * math.sqrt(median(errors))
    return Effect(name, tuple(edits), median(sizes), low, high, ranks is not None, noise)
