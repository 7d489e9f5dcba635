"""Git by plumbing: trial commits, plain exports, sparse worktrees, merges.

The user's branch, index and working tree are never touched, and neither is the repository's configuration. What is
added to `.git`: objects, refs below `refs/swarm/`, the entries of our own worktrees, `swarm.lock`, and `swarm/` with
the second copy of the brain. Nothing that a repository can configure to be executed (hooks, file monitors, filters,
external diffs, aliases, signing) is executed.
"""

from swarm.repo.bundle import bundle_beside, has_commit, take_bundle, write_bundle
from swarm.repo.refs import trial_ref
from swarm.repo.repository import Repo
from swarm.repo.taking import Quarantine
from swarm.repo.versions import versions

__all__ = ["Quarantine", "Repo", "bundle_beside", "has_commit", "take_bundle", "trial_ref", "versions", "write_bundle"]
