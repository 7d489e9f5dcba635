"""CUDA_VISIBLE_DEVICES, which NVML ignores: the cards of this machine that CUDA would show, in CUDA's order.

As CUDA reads it: entries from left to right, up to the first one that names no card; a card named twice makes the list
empty. An entry is an index, a card's UUID or the first digits of one that only one card has, or a slice of a card. What
CUDA counts by index follows CUDA_DEVICE_ORDER: by the place on the bus, as NVML does, or (without it) the fastest
first, which is the same order where all cards are of one kind.

The other way: what a trial is told is a UUID (`swarm.admission.lease.child_env`), so that no order matters to it.
"""

from collections.abc import Mapping, Sequence

from swarm.gpu.unusable import Unusable

VARIABLE, ORDER, BY_BUS = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "PCI_BUS_ID"
_SLICE = "MIG-"

Card = tuple[str, str]
"""UUID and name, in NVML's order."""


def visible(cards: Sequence[Card], environment: Mapping[str, str]) -> tuple[str, ...]:
    """UUIDs of the cards that CUDA shows, its first one first. Raises Unusable where that is none, or not certain."""
    uuids = [uuid for uuid, _ in cards]
    asked = environment.get(VARIABLE)
    if asked is None or not cards:
        return tuple(uuids)
    found: list[str] = []
    for entry in (text.strip() for text in asked.split(",")):
        if (uuid := _named(entry, cards, environment)) is None:
            break
        if uuid in found:
            raise Unusable(f"{VARIABLE}={asked} names {uuid} twice, and CUDA then shows no card at all.", _REMEDY)
        found.append(uuid)
    if not found:
        there = ", ".join(f"{index}: {uuid} ({name})" for index, (uuid, name) in enumerate(cards))
        raise Unusable(f"{VARIABLE}={asked!r} hides every card of this machine ({there}).", _REMEDY)
    return tuple(found)


_REMEDY = f"Unset {VARIABLE}, or name cards of this machine by their UUIDs (`nvidia-smi -L`)."


def _named(entry: str, cards: Sequence[Card], environment: Mapping[str, str]) -> str | None:
    if entry.startswith(_SLICE):
        raise Unusable(
            f"{VARIABLE} names {entry}, a slice of a card (MIG): slices are not admitted to by their memory.",
            "Name whole cards, or switch MIG off (`nvidia-smi -mig 0`).",
        )
    if entry.isdigit():
        return _counted(int(entry), cards, environment)
    matching = [uuid for uuid, _ in cards if entry.startswith("GPU-") and uuid.startswith(entry)]
    return matching[0] if len(matching) == 1 else None


def _counted(index: int, cards: Sequence[Card], environment: Mapping[str, str]) -> str | None:
    if index >= len(cards):
        return None
    if len({name for _, name in cards}) > 1 and environment.get(ORDER) != BY_BUS:
        kinds = ", ".join(name for _, name in cards)
        raise Unusable(
            f"{VARIABLE} counts cards of several kinds ({kinds}), and CUDA counts the fastest first: which one is "
            f"{index} cannot be told.",
            f"Name them by their UUIDs (`nvidia-smi -L`), or set {ORDER}={BY_BUS}.",
        )
    return cards[index][0]
