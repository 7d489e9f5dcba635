"""Search spaces as a program declares them: unit positions, rounding, differences."""

import math
from collections.abc import Mapping

from swarm.program.constants import Choice, Int, Linear, Log, Space, parse, same_value
from swarm.records import Scalar

SIGNIFICANT_DIGITS = 3


def searched(source: str) -> dict[str, Space]:
    """The constants that a program offers for tuning, with their spaces, in the order of the text."""
    return {name: constant.space for name, constant in parse(source).items() if constant.space is not None}


def values_of(source: str) -> dict[str, Scalar]:
    """Every constant of a program with its value."""
    return {name: constant.value for name, constant in parse(source).items()}


def unit(space: Space, value: Scalar) -> float | None:
    """Where a value lies in its space, 0 to 1; None outside it. A choice's position is its place in the list."""
    if not space.contains(value):
        return None
    match space:
        case Choice(values=listed):
            index = next(place for place, item in enumerate(listed) if same_value(item, value))
            return index / max(1, len(listed) - 1)
        case Log(low=low, high=high):
            return math.log(float(value) / low) / math.log(high / low)
        case Linear(low=low, high=high) | Int(low=low, high=high):
            return (float(value) - low) / (high - low)


def at(space: Space, position: float) -> Scalar:
    """The value at a unit position, which is cut to [0, 1]; numbers get three significant digits inside the space."""
    position = min(1.0, max(0.0, position))
    match space:
        case Choice(values=listed):
            return listed[round(position * (len(listed) - 1))]
        case Int(low=low, high=high):
            return round(low + position * (high - low))
        case Linear(low=low, high=high):
            return rounded(space, low + position * (high - low))
        case Log(low=low, high=high):
            return rounded(space, low * (high / low) ** position)


def rounded(space: Log | Linear, value: float) -> float:
    """Three significant digits, for people; a bound of the space is never overstepped by rounding."""
    short = float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return min(float(space.high), max(float(space.low), short))


def differences(spaces: Mapping[str, Space], old: Mapping[str, Scalar], new: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The searched constants that `new` really moves, with their new values."""
    return {name: value for name, value in new.items() if name in spaces and not same_value(old.get(name, ""), value)}


def as_text(name: str, value: Scalar) -> str:
    return f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {value!r}".replace("'", '"')
