"""What the briefing's attempts say about a change: was it tried, what did its like do, which records to cite.

Effects are differences of mean cost, negative is better. They are descriptions of a handful of noisy runs, not
tests: whether a difference is real is `swarm.verdict`'s business alone.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from swarm.gate.novelty import is_near
from swarm.program.constants import Space, assign
from swarm.program.families import family_of
from swarm.records import MAX_DESCRIPTION, Operator, Proposal, Scalar
from workers.briefing import Attempt, Briefing
from workers.proposers.spaces import unit

BANDWIDTH = 0.15  # of a space: how far one result speaks for its neighbours
KNOWN_WEIGHT = 0.1  # less evidence than this is none
MOST_CITES = 4


@dataclass(frozen=True, slots=True)
class Observation:
    """One program as a point of the search space. `cost`, a mean over its `runs`, is None if it failed or still runs.

    `marks` names what sets its structure apart from the baseline's: the trials of its line that changed more than
    constants.
    """

    constants: Mapping[str, Scalar]
    cost: float | None
    failed: bool
    runs: int = 1
    marks: frozenset[str] = frozenset()


def observations(briefing: Briefing) -> list[Observation]:
    """Every program that the briefing knows, the roots first; then the attempts in the order of their claims.

    The root programs are no attempts. They are rebuilt from their children, which say what they changed, and from the
    incumbent and the alternatives, if these have no attempt of their own.
    """
    known = {attempt.trial_id for attempt in briefing.attempts}
    roots: dict[str, Observation] = {}
    for view in (briefing.incumbent, *briefing.alternatives):
        if view.trial_id not in known:
            roots[view.trial_id] = Observation(view.constants, view.cost, failed=False, runs=view.replicates)
    for attempt in briefing.attempts:
        if attempt.parent not in known and attempt.parent not in roots and attempt.parent_cost is not None:
            roots[attempt.parent] = Observation(_before(attempt), attempt.parent_cost, failed=False)
    marks = structures(briefing)
    tried = [Observation(a.constants, a.cost, a.failed, a.replicates, marks[a.trial_id]) for a in briefing.attempts]
    return [*roots.values(), *tried]


def earlier_observations(briefing: Briefing) -> list[Observation]:
    """Programs of earlier studies, their costs moved by what the baselines differ in. A mark of its own sets each study
    apart: its machine, seeds and versions were others."""
    own = {root.trial_id: root.cost for root in (briefing.incumbent, *briefing.alternatives) if root.cost is not None}
    here = next((a.parent_cost for a in briefing.attempts if a.parent_cost is not None), None)
    here = here if here is not None else own.get(briefing.incumbent.trial_id)
    if here is None:
        return []
    return [
        Observation(
            constants=item.constants,
            cost=item.cost - item.baseline_cost + here,
            failed=False,
            runs=item.replicates,
            marks=frozenset((item.study_id, *(f"{item.study_id}/{name}" for name in item.structure))),
        )
        for item in briefing.earlier
    ]


def structures(briefing: Briefing) -> dict[str, frozenset[str]]:
    """The marks of each attempt: its parent's, and its own name unless it only moved constants."""
    marks: dict[str, frozenset[str]] = {}
    for attempt in briefing.attempts:
        own = () if attempt.operator == Operator.TUNE else (attempt.trial_id,)
        marks[attempt.trial_id] = marks.get(attempt.parent, frozenset()).union(own)
    return marks


def was_tried(briefing: Briefing, changes: Mapping[str, Scalar]) -> bool:
    """Whether the gate would refuse these new values for the incumbent's constants, as far as the briefing tells.

    That is: they are the incumbent's own within 5 %, the same constants were moved to about the same values from the
    incumbent, or a program from anywhere has exactly the constants that would result.
    """
    own = briefing.incumbent.constants
    result = {**own, **changes}
    return (
        all(is_near(own.get(name), value) for name, value in changes.items())
        or any(_is_same_move(briefing, attempt, changes) for attempt in briefing.attempts)
        or any(known.constants == result for known in observations(briefing))
    )


def turn_seed(briefing: Briefing) -> str:
    """Another seed for each turn: a proposer that is refused must not give the same answer again."""
    return f"{briefing.seed}/{briefing.attempts_left}"


def expected_effect(briefing: Briefing, spaces: Mapping[str, Space], changes: Mapping[str, Scalar]) -> float | None:
    """A guess at the change of the cost: the effects of nearby values, added up over the changed constants.

    Nadaraya-Watson mean with a Gaussian kernel over the unit positions of the new values; an attempt that changed k
    constants counts as a k-th of its effect for each. Interactions are ignored. None when nothing near was tried.
    """
    effects = [_neighbour_effect(briefing, name, spaces[name], value) for name, value in changes.items()]
    known = [effect for effect in effects if effect is not None]
    return round(sum(known), 5) if known else None


def tuned(
    proposer: str, briefing: Briefing, spaces: Mapping[str, Space], changes: Mapping[str, Scalar], description: str
) -> Proposal:
    """The incumbent with new values for some constants, with what the attempts say about them."""
    return Proposal(
        operator=Operator.TUNE,
        family=family_of(next(iter(changes))),
        description=description[:MAX_DESCRIPTION],
        parent=briefing.incumbent.trial_id,
        source=assign(briefing.incumbent.source, changes),
        cites=cites_for(briefing, changes),
        expects=expected_effect(briefing, spaces, changes),
        proposer=proposer,
    )


def cites_for(briefing: Briefing, names: Mapping[str, object]) -> tuple[str, ...]:
    """Attempts to cite for a change of these constants: for each the best and the worst that moved it.

    When none did, the attempts nearest to the incumbent: the proposer read those as well.
    """
    cited: list[str] = []
    for name in names:
        related = [a for a in briefing.attempts if name in a.changed and not a.running]
        finished = sorted((a for a in related if a.delta is not None), key=_delta)
        failed = [a for a in related if a.delta is None]
        cited += [a.trial_id for a in (*finished[:1], *(failed[-1:] or finished[1:][-1:]))]
    return tuple(dict.fromkeys(cited))[:MOST_CITES] or cites_without_kin(briefing)


def cites_without_kin(briefing: Briefing) -> tuple[str, ...]:
    """The attempts nearest to the incumbent, else the latest: what a proposer has read that builds on none of them."""
    known = {attempt.trial_id for attempt in briefing.attempts}
    nearest = [trial_id for trial_id in briefing.nearest if trial_id in known][:2]
    return tuple(nearest or [attempt.trial_id for attempt in briefing.attempts[-2:]])


def effects_of(briefing: Briefing, name: str) -> Iterator[tuple[Attempt, float]]:
    """Attempts that moved a constant, with its share of their effect."""
    for attempt in briefing.attempts:
        if name in attempt.changed and attempt.delta is not None:
            yield attempt, attempt.delta / len(attempt.changed)


def _is_same_move(briefing: Briefing, attempt: Attempt, changes: Mapping[str, Scalar]) -> bool:
    return (
        attempt.parent == briefing.incumbent.trial_id
        and attempt.operator == Operator.TUNE
        and attempt.changed.keys() == changes.keys()
        and all(is_near(attempt.changed[name][1], value) for name, value in changes.items())
    )


def _neighbour_effect(briefing: Briefing, name: str, space: Space, value: Scalar) -> float | None:
    here, weights, total = unit(space, value), 0.0, 0.0
    for attempt, effect in effects_of(briefing, name):
        moved_to = attempt.changed[name][1]
        there = unit(space, moved_to) if moved_to is not None else None
        if here is None or there is None:
            continue
        weight = math.exp(-(((here - there) / BANDWIDTH) ** 2) / 2)
        weights, total = weights + weight, total + weight * effect
    return total / weights if weights >= KNOWN_WEIGHT else None


def _before(attempt: Attempt) -> dict[str, Scalar]:
    old = {name: pair[0] for name, pair in attempt.changed.items()}
    merged = {**attempt.constants, **old}
    return {name: value for name, value in merged.items() if value is not None}


def _delta(attempt: Attempt) -> float:
    assert attempt.delta is not None
    return attempt.delta
