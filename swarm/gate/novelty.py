"""Has the study tried this already, or something that no measurement could tell apart from it?"""

import math
from collections.abc import Mapping, Sequence

from swarm.gate.answers import Refusal, Tried
from swarm.program import constants
from swarm.program.tree import tree_sha256
from swarm.records import Scalar, TrialState

NEAR = 1.05  # two values of a constant whose ratio is at most this are one try

_Changes = Mapping[str, tuple[Scalar | None, Scalar | None]]


def check_novelty(
    tree: str, changes: _Changes, parent_source: str, parent_tree: str, tried: Sequence[Tried]
) -> Refusal | None:
    """Refuses a program that was tried from any parent, and constants within 5 % of those tried from this parent."""
    for earlier in tried:
        if earlier.tree_sha256 == tree:
            return _duplicate(earlier)
    if not _is_only_settings(tree, changes, parent_source):
        return None
    if all(is_near(old, new) for old, new in changes.values()):
        return _near(changes, "the parent's own", [old for old, _ in changes.values()], None)
    for earlier in tried:
        if earlier.parent_tree_sha256 == parent_tree and _same_settings(changes, earlier, parent_source):
            values = [earlier.constants_changed[name][1] for name in changes]
            return _near(
                changes, f"what {earlier.trial_id} ({_standing(earlier)}) tried on the same parent:", values, earlier
            )
    return None


def is_near(a: Scalar | None, b: Scalar | None) -> bool:
    """The same setting, or two numbers of one sign within 5 %. Zero is near to nothing but zero."""
    if a is None or b is None or isinstance(a, bool | str) or isinstance(b, bool | str):
        return a is not None and b is not None and constants.same_value(a, b)
    if a == b or 0 in (a, b):
        return a == b
    return (a > 0) == (b > 0) and abs(math.log(abs(a)) - math.log(abs(b))) <= math.log(NEAR) + 1e-9


def _is_only_settings(tree: str, changes: _Changes, parent_source: str) -> bool:
    """Does the parent with these constants set give the same program, so that nothing else was edited?"""
    values = {name: new for name, (old, new) in changes.items() if old is not None and new is not None}
    if not changes or len(values) < len(changes):
        return False
    return tree_sha256(constants.assign(parent_source, values)) == tree


def _same_settings(changes: _Changes, earlier: Tried, parent_source: str) -> bool:
    theirs = earlier.constants_changed
    return (
        changes.keys() == theirs.keys()
        and all(is_near(new, theirs[name][1]) for name, (_, new) in changes.items())
        and _is_only_settings(earlier.tree_sha256, theirs, parent_source)
    )


def _duplicate(earlier: Tried) -> Refusal:
    return Refusal(
        "duplicate",
        f"this is the program of {earlier.trial_id} ({_standing(earlier)}), comments and layout apart. Proposing it "
        "does not measure it again: change something that no trial has tried",
        repeats=earlier.trial_id,
    )


def _near(changes: _Changes, what: str, values: Sequence[Scalar | None], earlier: Tried | None) -> Refusal:
    proposed = ", ".join(f"{name} = {new}" for name, (_, new) in changes.items())
    there = ", ".join(str(value) for value in values)
    return Refusal(
        "near_duplicate",
        f"{proposed} is within 5 % of {what} {there}. Move further{_bounds(values)}, or change something else",
        repeats=earlier.trial_id if earlier else None,
    )


def _bounds(values: Sequence[Scalar | None]) -> str:
    """For one number, the values between which nothing new is to be had."""
    match list(values):
        case [int() | float() as value] if not isinstance(value, bool) and value != 0:
            low, high = sorted((value / NEAR, value * NEAR))
            return f", below {low:.3g} or above {high:.3g}"
    return ""


def _standing(earlier: Tried) -> str:
    match earlier.state:
        case TrialState.WAITING | TrialState.RUNNING:
            return "being tried right now"
        case state:
            return str(state)
