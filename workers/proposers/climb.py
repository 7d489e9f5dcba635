"""Pattern search over the declared constants: go on where it helped, turn round where it did not, then take half steps.

One constant a proposal. What a constant does next follows from the attempts alone:

- the step that led to its current value, if a kept or leading program took it, is repeated in its direction, half as
  long again (of the logarithm for a log space);
- else the first step is a factor of two in a log space, a quarter of the range in a linear one, and the next neighbour
  for whole numbers and choices;
- each attempt from the current value counts as a failure: the direction turns round, and after two failures the step is
  halved. A step that rounds to a value that was tried is passed over.

Before a fresh constant is tried, two near misses of different constants (single changes that seemed to help, but not
beyond the noise) are bundled: two small gains may pass where each alone could not.

Deterministic: `briefing.seed` only orders constants about which nothing is known.
"""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, islice

from swarm.program.constants import Choice, Int, Linear, Log, Space, same_value
from swarm.program.families import FAMILIES, family_of
from swarm.records import Operator, Proposal, Scalar
from swarm.verdict.standing import Standing
from workers.briefing import Attempt, Briefing
from workers.proposers import ProposalFailed
from workers.proposers.evidence import tuned, was_tried
from workers.proposers.spaces import as_text, at, searched, unit

LONGER = 1.5
FIRST_FACTOR = 2.0  # of a log space
FIRST_RANGE = 0.25  # of a linear space
HALVINGS = 4
MOST_FAILURES = 2 * HALVINGS


@dataclass(frozen=True, slots=True)
class _Move:
    """New values with the reason for them."""

    changes: Mapping[str, Scalar]
    why: str


class ClimbProposer:
    """Proposes the next step of a pattern search."""

    @property
    def name(self) -> str:
        return "climb"

    def propose(self, briefing: Briefing) -> Proposal:
        """Raises ProposalFailed when no constant has a step left that was not tried.

        After a refusal in the same turn the next best step is proposed.
        """
        spaces = searched(briefing.incumbent.source)
        untried = (move for move in _moves(briefing, spaces) if not was_tried(briefing, move.changes))
        for move in islice(untried, int(briefing.refusal is not None), None):
            return tuned(self.name, briefing, spaces, move.changes, _description(briefing, move))
        raise ProposalFailed("search_exhausted", "no constant has an untried step left around the incumbent")


def _moves(briefing: Briefing, spaces: Mapping[str, Space]) -> Iterator[_Move]:
    """Best first: further in a direction that helped, bundled near misses, then the other constants."""
    helped = {name: step for name in spaces if (step := _arrival(briefing, spaces, name)) is not None}
    followed = [name for name in helped if not _failures(briefing, name)]
    for name in followed:
        yield from _steps(briefing, name, spaces[name], helped[name], "further, as it helped")
    yield from _bundles(briefing, spaces)
    for name in _order(briefing, spaces):
        yield from _steps(briefing, name, spaces[name], helped.get(name), "step")


def _arrival(briefing: Briefing, spaces: Mapping[str, Space], name: str) -> float | None:
    """The step in unit length, with its sign, by which a program that helped brought the constant where it is."""
    current = briefing.incumbent.constants[name]
    for attempt in reversed(briefing.attempts):
        old, new = attempt.changed.get(name, (None, None))
        if new is None or old is None or not same_value(new, current) or not attempt.helped:
            continue
        start, end = unit(spaces[name], old), unit(spaces[name], new)
        return end - start if start is not None and end is not None else None
    return None


def _failures(briefing: Briefing, name: str) -> int:
    """Single changes of the constant, from its present value, that did not become the incumbent."""
    current = briefing.incumbent.constants[name]
    return sum(
        list(attempt.changed) == [name]
        and _started_at(attempt, name, current)
        and attempt.standing is not Standing.KEPT
        for attempt in briefing.attempts
    )


def _started_at(attempt: Attempt, name: str, value: Scalar) -> bool:
    old = attempt.changed[name][0]
    return old is not None and same_value(old, value)


def _steps(briefing: Briefing, name: str, space: Space, arrival: float | None, why: str) -> Iterator[_Move]:
    """The steps of one constant that are still to be tried from its present value."""
    current = briefing.incumbent.constants[name]
    here = unit(space, current)
    if isinstance(space, Choice):
        for value in _other_choices(space, current):
            yield _Move({name: value}, "another choice")
        return
    if here is None:
        return
    first = abs(arrival) * LONGER if arrival else _first_step(space)
    direction = math.copysign(1.0, arrival) if arrival else _first_direction(briefing, name)
    for failures in range(_failures(briefing, name), MOST_FAILURES):
        length = first / 2 ** (failures // 2)
        sign = direction if failures % 2 == 0 else -direction
        value = _stepped(space, here, sign * length)
        if not same_value(value, current):
            yield _Move({name: value}, why)


def _stepped(space: Space, here: float, step: float) -> Scalar:
    """The value a step away; a whole number moves by one at least."""
    if isinstance(space, Int):
        whole = 1 / (space.high - space.low)
        step = math.copysign(max(abs(step), whole), step)
    return at(space, here + step)


def _first_step(space: Log | Linear | Int) -> float:
    match space:
        case Log(low=low, high=high):
            return math.log(FIRST_FACTOR) / math.log(high / low)
        case Linear():
            return FIRST_RANGE
        case Int(low=low, high=high):
            return 1 / (high - low)


def _first_direction(briefing: Briefing, name: str) -> float:
    """Up or down by lot, the same for every worker of the study."""
    return 1.0 if random.Random(f"{briefing.study_id}/{name}").random() < 0.5 else -1.0


def _other_choices(space: Choice, current: Scalar) -> list[Scalar]:
    """Neighbours in the list first."""
    here = next((place for place, item in enumerate(space.values) if same_value(item, current)), 0)
    places = sorted(range(len(space.values)), key=lambda place: (abs(place - here), -place))
    return [space.values[place] for place in places if not same_value(space.values[place], current)]


def _bundles(briefing: Briefing, spaces: Mapping[str, Space]) -> Iterator[_Move]:
    """Pairs of near misses on different constants, the best pair first."""
    misses = _near_misses(briefing, spaces)
    pairs = sorted(combinations(misses.values(), 2), key=lambda pair: (pair[0].delta or 0) + (pair[1].delta or 0))
    for first, second in pairs:
        changes = {**_news(first), **_news(second)}
        yield _Move(changes, f"both of {first.trial_id} and {second.trial_id}")


def _near_misses(briefing: Briefing, spaces: Mapping[str, Space]) -> dict[str, Attempt]:
    """For each constant the best single change that lowered the cost, was not adopted and still applies."""
    best: dict[str, Attempt] = {}
    for attempt in briefing.attempts:
        if attempt.helped or len(attempt.changed) != 1:
            continue
        name = next(iter(attempt.changed))
        helps = attempt.operator == Operator.TUNE and attempt.delta is not None and attempt.delta < 0
        if not helps or name not in spaces or not _started_at(attempt, name, briefing.incumbent.constants[name]):
            continue
        if name not in best or (attempt.delta or 0) < (best[name].delta or 0):
            best[name] = attempt
    return best


def _news(attempt: Attempt) -> dict[str, Scalar]:
    return {name: new for name, (_, new) in attempt.changed.items() if new is not None}


def _order(briefing: Briefing, spaces: Mapping[str, Space]) -> list[str]:
    """Constants with few failures first, those of cooled families last; then those of which not even the order of
    magnitude is known, such as a learning rate; then by the prior order of their families."""
    rng = random.Random(briefing.seed)
    chance = {name: rng.random() for name in spaces}

    def rank(name: str) -> tuple[bool, int, bool, int, float]:
        family, narrow = family_of(name), not isinstance(spaces[name], Log)
        prior = FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)
        return family in briefing.cooled_families, _failures(briefing, name) // 2, narrow, prior, chance[name]

    return sorted(spaces, key=rank)


def _description(briefing: Briefing, move: _Move) -> str:
    old = briefing.incumbent.constants
    return f"{move.why}: " + ", ".join(f"{as_text(name, new)} (was {old[name]})" for name, new in move.changes.items())
