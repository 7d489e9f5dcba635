"""What was tried of each constant, for a prompt: its range, and the effects of the values near the present one."""

import json
from collections import Counter
from collections.abc import Iterator

from swarm.program import constants
from swarm.records import Scalar, one_line
from swarm.target.objective import Objective
from workers.briefing import Briefing

MAX_WORD = 60
MAX_TRIED = 6


def regions(briefing: Briefing) -> Iterator[dict[str, object]]:
    """Constants that were tried first, the most tried of all at the head."""
    spaces = _spaces(briefing.incumbent.source)
    tries = Counter(name for attempt in briefing.attempts for name in attempt.changed)
    for name, now in sorted(briefing.incumbent.constants.items(), key=lambda item: -tries[item[0]]):
        yield _region(briefing, name, now, spaces.get(name))


def _region(briefing: Briefing, name: str, now: Scalar, space: str | None) -> dict[str, object]:
    """Where one constant was tried: its range, and the effect of the values nearest to the present one."""
    tried = [
        (attempt.changed[name][1], attempt.delta, attempt.standing)
        for attempt in briefing.attempts
        if name in attempt.changed and attempt.changed[name][1] is not None
    ]
    numbers = [value for value, _, _ in tried if isinstance(value, int | float) and not isinstance(value, bool)]
    entry: dict[str, object] = {"constant": one_line(name, MAX_WORD), "now": scalar(now)}
    if space is not None:
        entry["search"] = space
    if numbers:
        entry["tried_range"] = [min(numbers), max(numbers)]
    if tried:
        nearest = sorted(tried, key=lambda item: _distance(item[0], now))[:MAX_TRIED]
        entry["tried"] = len(tried)
        entry["effects"] = [
            [scalar(value), rounded(delta, briefing.objective) if delta is not None else end]
            for value, delta, end in nearest
        ]
    return entry


def _spaces(source: str) -> dict[str, str]:
    spaces = {}
    for name, constant in constants.parse(source).items():
        match constant.space:
            case constants.Log(low, high):
                spaces[name] = f"log({low:g}, {high:g})"
            case constants.Linear(low, high):
                spaces[name] = f"linear({low:g}, {high:g})"
            case constants.Int(low, high):
                spaces[name] = f"int({low}, {high})"
            case constants.Choice(values):
                spaces[name] = f"one of {json.dumps([scalar(value) for value in values[:12]])}"
    return spaces


def _distance(value: Scalar | None, now: Scalar) -> float:
    numeric = isinstance(value, int | float) and isinstance(now, int | float)
    return abs(float(value) - float(now)) if numeric else 0.0  # type: ignore[arg-type]


def scalar(value: Scalar | None) -> Scalar | None:
    return one_line(value, MAX_WORD) if isinstance(value, str) else value


def rounded(cost: float | None, objective: Objective) -> float | None:
    """A cost or a difference of two, as a value for a model to read."""
    return None if cost is None else round(objective.value(cost), 5)
