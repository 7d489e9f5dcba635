"""What a program may take from the harness: six names, and of each its public parts.

An allow-list. `data` and `augment` are modules, and a module holds whatever it imports: `data.os` would be the
operating system. `clock` is an object that counts for the program, and what it counts with is not the program's.
"""

from collections.abc import Mapping

HARNESS = "swarm.harness"

HARNESS_PARTS: Mapping[str, frozenset[str]] = {
    "augment": frozenset({"flip", "alternating_flip", "crop", "cutout", "mixup", "cutmix", "normalise"}),
    "clock": frozenset({"batches", "report", "progress", "step", "epoch", "indices", "samples", "used", "loss"}),
    "compiled": frozenset(),
    "data": frozenset({"train"}),
    "device": frozenset({"type", "index"}),
    "finish": frozenset(),
}
HARNESS_NAMES = frozenset(HARNESS_PARTS)
_WHOLE = frozenset(
    {"compiled", "device", "finish"}
)  # these may be handed about; the others only with one of their parts


def not_offered(name: str, also_allowed: frozenset[str]) -> str | None:
    """Why a program may not use this dotted name of the harness; None if it may, or if it is none of the harness.

    `also_allowed` are imports that a person has chosen, with all that they hold.
    """
    if name != HARNESS and not name.startswith(f"{HARNESS}.") and not HARNESS.startswith(f"{name}."):
        return None
    chosen = {f"{HARNESS}.{offered}" for offered in HARNESS_NAMES} | {HARNESS}
    if any(f"{name}.".startswith(f"{allowed}.") for allowed in also_allowed - chosen):
        return None
    offered, _, parts = name.removeprefix(HARNESS).removeprefix(".").partition(".")
    if offered not in HARNESS_NAMES:
        return f"{name} is not offered by the harness: use {', '.join(sorted(HARNESS_NAMES))}"
    part, _, rest = parts.partition(".")
    if (part == "" and offered in _WHOLE) or (part in HARNESS_PARTS[offered] and (offered == "clock" or rest == "")):
        return None
    said = ", ".join(f"{offered}.{public}" for public in sorted(HARNESS_PARTS[offered])) or offered
    return f"{name} is not offered by the harness: of {offered} there is {said}"
