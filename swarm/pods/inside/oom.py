"""Whom the kernel ends when a pod is out of memory: anybody before the watchdog.

Not promised: most containers lack the right to lower a score (CAP_SYS_RESOURCE). The watchdog's log says so then. What
is left: the study's score is raised, which needs no right, its trials' even more; and the entry script begins another
watchdog for one that is gone.
"""

import contextlib
from pathlib import Path

NEVER, AS_ANY, BEFORE_OTHERS = -1000, 0, 300  # of the kernel's oom_score_adj
_PROC = Path("/proc")


def shield() -> str | None:
    """Takes the calling process out of the kernel's choice. In words why it could not, None when it has."""
    try:
        (_PROC / "self" / "oom_score_adj").write_text(str(NEVER))
    except OSError as problem:
        return (
            f"the kernel may end the watchdog when memory runs out ({problem.strerror}): "
            "this container may not lower oom_score_adj. The study comes before it, and the entry script begins "
            "another one then"
        )
    return None


def expose(pid: int, score: int = AS_ANY) -> None:
    """A child of a shielded process is none itself; whatever it starts has its score."""
    with contextlib.suppress(OSError):
        (_PROC / str(pid) / "oom_score_adj").write_text(str(score))
