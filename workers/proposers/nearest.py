"""The real lines that a near miss of a SEARCH block may have meant. Pure."""

import difflib
from collections.abc import Sequence

MAX_QUOTED = 24
MAX_SAME_NAME = 6


def nearest(lines: Sequence[str], search: Sequence[str]) -> list[str]:
    """The most similar run of real lines of the same length; if none is (ratio 0.5), lines that begin with its words.

    The latter finds a line whose trailing comment was left out, the commonest miss.
    """
    size = min(len(search), MAX_QUOTED, len(lines))
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2("\n".join(search[:size]))
    best, best_start = 0.5, -1
    for start in range(min(len(lines) - size + 1, 3000)):
        matcher.set_seq1("\n".join(lines[start : start + size]))
        if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best and matcher.ratio() > best:
            best, best_start = matcher.ratio(), start
    if best_start >= 0:
        return list(lines[best_start : best_start + size])
    names = {line.split()[0] for line in search if line.strip()}
    return [line for line in lines if line.strip() and line.split()[0] in names][:MAX_SAME_NAME]
