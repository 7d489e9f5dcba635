"""Three-way merge of one text."""

import tempfile
from functools import lru_cache
from pathlib import Path

from swarm.errors import MergeConflict
from swarm.repo.git import Git, GitFailed

_SHOWN_LINES = 30


def merge_text(base: str, ours: str, theirs: str) -> str:
    """What both edits of `base` say. Raises MergeConflict with the number of places and the first of them."""
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
