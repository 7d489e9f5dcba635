"""Three-way merge of one text."""

import tempfile
from functools import lru_cache
from pathlib import Path

from swarm.errors import MergeConflict
from swarm.program import several
from swarm.repo.git import Git, GitFailed

_SHOWN_LINES = 30


def merge_text(base: str, ours: str, theirs: str) -> str:
    """What both edits of `base` say, of several files each by itself. Raises MergeConflict with the number of places
    and the first of them."""
    if several.is_several(base):
        return _merge_several(base, ours, theirs)
    return _merge_one(base, ours, theirs)


def _merge_several(base: str, ours: str, theirs: str) -> str:
    """A file that one side has removed and the other has not touched is removed; a new one is there."""
    before, mine, other = (several.files_of(text, "") for text in (base, ours, theirs))
    merged: dict[str, str] = {}
    for path in sorted(before.keys() | mine.keys() | other.keys()):
        sides = before.get(path), mine.get(path), other.get(path)
        if sides[1] == sides[2] or sides[0] == sides[2]:
            text = sides[1]
        elif sides[0] == sides[1]:
            text = sides[2]
        elif None in sides[1:]:
            raise MergeConflict(f"one edit removes {path} and the other one changes it")
        else:
            text = _merge_one(*(side or "" for side in sides))
        if text is not None:
            merged[path] = text
    return several.joined(merged)


def _merge_one(base: str, ours: str, theirs: str) -> str:
    conflicts, merged = _merge_file(base, ours, theirs)
    if conflicts:
        raise MergeConflict(f"the two edits overlap in {conflicts} place(s), first:\n{_first_conflict(merged)}")
    return merged


@lru_cache(maxsize=256)  # the search policy tries the same pairs again at each turn
def _merge_file(base: str, ours: str, theirs: str) -> tuple[int, str]:
    """How many places conflict, and the merged text."""
    with tempfile.TemporaryDirectory(prefix="swarm-merge-") as folder:
        for name, text in (("ours", ours), ("base", base), ("theirs", theirs)):
            (Path(folder) / name).write_bytes(text.encode())
        try:
            return 0, Git(Path(folder))("merge-file", "-p", "-q", "ours", "base", "theirs").decode()
        except GitFailed as error:
            if not 0 < error.code < 128:  # 255 is a failure; up to 127 it is the number of conflicts
                raise
            return error.code, error.stdout.decode()


def _first_conflict(merged: str) -> str:
    lines = merged.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith("<<<<<<<")), 0)
    end = next((number for number, line in enumerate(lines) if line.startswith(">>>>>>>")), len(lines))
    return "\n".join(lines[start : min(end + 1, start + _SHOWN_LINES)])
