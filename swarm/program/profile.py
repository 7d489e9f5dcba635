"""What a profile set in a study's first program, taken out of a trial's program again. Pure.

A profile writes constants for its device into the program when a study opens (decision 0003). They are no part of what
a trial found, so they do not follow it onto the person's file; a constant that the trial itself set does.
"""

from swarm.errors import TargetError
from swarm.program.constants import assign, changed, parse
from swarm.records import Scalar


def without_profile(original: str, base: str, program: str) -> tuple[str, dict[str, tuple[Scalar, Scalar]]]:
    """`program`, which was made from `base`, as if it had been made from `original`; and the constants that the profile
    and the program both set, as (the original's value, the program's).

    Lines that are as the profile left them become the original's, byte for byte.
    """
    set_by_profile = {name: old for name, (old, new) in changed(original, base).items() if old is not None}
    lines = dict(zip(base.splitlines(keepends=True), original.splitlines(keepends=True), strict=False))
    own = {line: lines[line] for line in lines if _names(line, set_by_profile)}
    text = "".join(own.get(line, line) for line in program.splitlines(keepends=True))
    here, there = _values(text), _values(base)
    untouched = {name: old for name, old in set_by_profile.items() if name in here and here[name] == there[name]}
    left = {name: old for name, old in set_by_profile.items() if name in here and here[name] not in (old, there[name])}
    return assign(text, untouched), {name: (old, here[name]) for name, old in left.items()}


def _names(line: str, names: dict[str, Scalar]) -> bool:
    return line.partition("=")[0].partition(":")[0].strip() in names


def _values(source: str) -> dict[str, Scalar]:
    """Of the constants it declares; none where it is no program any more."""
    try:
        return {name: constant.value for name, constant in parse(source).items()}
    except TargetError:
        return {}
