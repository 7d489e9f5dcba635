"""A change made on one program, moved to another one."""

from collections.abc import Callable

from swarm.errors import MergeConflict
from swarm.program import constants
from swarm.program.tree import tree_sha256

MergeText = Callable[[str, str, str], str]


def moved(base: str, ours: str, theirs: str, merge_text: MergeText) -> str:
    """The change from `base` to `theirs`, made on `ours`: by line, and where lines collide that are only values of
    declared constants, by constant. Raises MergeConflict, also when both have set the same constant."""
    try:
        return merge_text(base, ours, theirs)
    except MergeConflict:
        changed, other = constants.changed(base, theirs), constants.changed(base, ours)
        values = {name: new for name, (old, new) in changed.items() if old is not None and new is not None}
        alone = len(values) == len(changed) and tree_sha256(constants.assign(base, values)) == tree_sha256(theirs)
        if not alone or values.keys() & other.keys() or not values.keys() <= constants.parse(ours).keys():
            raise
        return constants.assign(ours, values)
