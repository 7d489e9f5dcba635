"""A plan as it must be: numbers of experts, small whole parts, and nothing else. It carries no weight of any tensor.

    {"layers": [{"experts": [[[0, 1]], [[3, 2], [5, 1]]], "resident": [1]}, ...]}

One entry a layer. `experts` lists the new experts, each as its members [expert, part]: numbers of the trained model's
experts, each in one new expert of its layer at most, and whole parts from 1 to 1,000. A merged expert is the mean of
its members, so that shares sum to one however they are written. `resident` lists new experts that never leave the fast
memory. What a plan can say beside the choice of experts is ten bits an expert.
"""

from dataclasses import dataclass

MOST_PART = 1000
FREE_PLACES = 2  # that the resident experts leave in the fast memory: one byte uses two experts at once
_KEYS, _LAYER_KEYS = {"layers"}, {"experts", "resident"}


class BadPlan(ValueError):
    """The first rule that a plan breaks, in words."""


@dataclass(frozen=True)
class Shape:
    """Of the trained model: `experts` of each layer, and the `places` of the fast memory."""

    experts: tuple[int, ...]
    places: int


@dataclass(frozen=True)
class Plan:
    """Of each layer the members (expert, part) of each new expert, and which new ones are resident."""

    experts: tuple[tuple[tuple[tuple[int, int], ...], ...], ...]
    resident: tuple[tuple[int, ...], ...]


def read_plan(content: object, shape: Shape) -> Plan:
    """Raises BadPlan."""
    layers = _table(content, "the plan", _KEYS)["layers"]
    if not isinstance(layers, list) or len(layers) != len(shape.experts):
        raise BadPlan(f"layers is {_shown(layers)}: a list of {len(shape.experts)} layers is wanted")
    experts, resident = [], []
    for number, (layer, count) in enumerate(zip(layers, shape.experts, strict=True)):
        where = f"layer {number}"
        table = _table(layer, where, _LAYER_KEYS)
        experts.append(_experts(table["experts"], where, count))
        resident.append(_resident(table["resident"], where, len(experts[-1])))
    pinned = sum(map(len, resident))
    if pinned > shape.places - FREE_PLACES:
        raise BadPlan(
            f"{pinned} experts are resident; the fast memory has {shape.places} places, and {FREE_PLACES} of them stay "
            "free for the others"
        )
    return Plan(tuple(experts), tuple(resident))


def _experts(content: object, where: str, count: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    if not isinstance(content, list) or not 1 <= len(content) <= count:
        raise BadPlan(f"{where}: experts is {_shown(content)}: a list of 1 to {count} new experts is wanted")
    found = [tuple(_member(one, where, count) for one in _members(members, where)) for members in content]
    used = [expert for members in found for expert, _ in members]
    if doubled := [one for one in used if used.count(one) > 1]:
        raise BadPlan(f"{where}: expert {doubled[0]} is used twice; it may go into one new expert, once")
    return tuple(found)


def _members(content: object, where: str) -> list[object]:
    if not isinstance(content, list) or not content:
        raise BadPlan(f"{where}: a new expert is {_shown(content)}: a list of its members [expert, part] is wanted")
    return content


def _member(content: object, where: str, count: int) -> tuple[int, int]:
    if not isinstance(content, list) or len(content) != 2:
        raise BadPlan(f"{where}: a member is {_shown(content)}: [expert, part] is wanted")
    expert = _whole(content[0], 0, count - 1, f"{where}: an expert")
    return expert, _whole(content[1], 1, MOST_PART, f"{where}: the part of expert {expert}")


def _resident(content: object, where: str, count: int) -> tuple[int, ...]:
    if not isinstance(content, list):
        raise BadPlan(f"{where}: resident is {_shown(content)}: a list of new experts is wanted")
    found = tuple(_whole(one, 0, count - 1, f"{where}: a resident expert") for one in content)
    if len(set(found)) != len(found):
        raise BadPlan(f"{where}: a resident expert is named twice")
    return found


def _whole(content: object, low: int, high: int, what: str) -> int:
    if type(content) is not int or not low <= content <= high:
        raise BadPlan(f"{what} is {_shown(content)}: a whole number from {low} to {high} is wanted")
    return content


def _table(content: object, where: str, keys: set[str]) -> dict[str, object]:
    if not isinstance(content, dict):
        raise BadPlan(f"{where} is {_shown(content)}: an object with {', '.join(sorted(keys))} is wanted")
    if strange := sorted(set(content) - keys):
        raise BadPlan(
            f"{where} has {_shown(strange[0])}, which is nothing that a plan says: it names experts and parts, and "
            "carries no weights and no wishes"
        )
    if missing := sorted(keys - set(content)):
        raise BadPlan(f"{where} has no {missing[0]}")
    return content


def _shown(content: object) -> str:
    text = repr(content)
    return text if len(text) <= 60 else f"{text[:57]}..."
