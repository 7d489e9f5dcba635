"""Names of the refs that hold the commits of trials."""

import re

from swarm.errors import RepoError

REF_PREFIX = "refs/swarm/"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def trial_ref(study_id: str, trial_id: str) -> str:
    """Where a trial's commit is kept: no branch, so that none piles up in anybody's list."""
    for name in (study_id, trial_id):
        if not _NAME.fullmatch(name) or ".." in name or name.endswith((".lock", ".")):
            raise RepoError(f"{name!r} cannot be part of a git ref")
    return f"{REF_PREFIX}{study_id}/{trial_id}"
