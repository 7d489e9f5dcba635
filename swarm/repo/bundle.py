"""The commits of studies in one file beside their brain. A clone brings no refs below refs/swarm/: this file does.

It holds the trial commits and nothing of the history before them, so it is small, and git checks that what comes out is
what the records name. What is read from it is checked as what comes from a pod is.
"""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from swarm.errors import RepoError
from swarm.repo.git import GitFailed
from swarm.repo.refs import trial_ref
from swarm.repo.repository import Repo
from swarm.repo.runtime import make_runtime
from swarm.repo.taking import Quarantine
from swarm.study.settings import Layout

_TRIAL = re.compile(r"t[0-9]{4,9}|base")


def bundle_beside(brain: Path) -> Path:
    return brain.with_suffix(".bundle")


def has_commit(repo: Repo, commit: str) -> bool:
    """Whether this commit is in the repository, reachable or not."""
    try:
        repo.git("cat-file", "-e", f"{commit}^{{commit}}")
    except GitFailed:
        return False
    return True


def write_bundle(repo: Repo, bases: Mapping[str, str], path: Path) -> int:
    """All trial commits that are here of these studies, given as study id to first commit. Returns their number.

    The same commits make a file that says the same. Raises RepoError when none is here.
    """
    refs = [trial_ref(study, name) for study in bases for name in sorted(repo.refs(study)) if _TRIAL.fullmatch(name)]
    if not refs:
        raise RepoError(f"{repo.root} has no trial commit of {', '.join(bases) or 'any study'}: they lie where it ran")
    before = [f"^{base}^" for base in bases.values() if has_commit(repo, base)]
    repo.git("bundle", "create", str(path.absolute()), *refs, *before)
    return len(refs)


def take_bundle(repo: Repo, path: Path, study_id: str) -> int:
    """Creates the refs of one study from a bundle. Returns how many are new.

    Raises RepoError for a bundle that is malformed, that builds on commits which are not here, or that contradicts a
    ref of ours: then nothing is taken.
    """
    with tempfile.TemporaryDirectory(prefix="bundle-", dir=make_runtime(Layout(root=repo.root))) as folder:
        quarantine = Quarantine(Path(folder) / "refs.git", repo)
        try:
            found = quarantine.fetch(str(path.absolute()), {})
        except GitFailed as error:
            shallow = repo.git.line("rev-parse", "--is-shallow-repository") == "true"
            remedy = "this clone is shallow: run git fetch --unshallow" if shallow else f"is it whole? ({error})"
            raise RepoError(f"the programs of {study_id} cannot be taken from {path}; {remedy}") from error
        wanted = {}
        for name, commit in found.items():
            study, _, trial = name.rpartition("/")
            if study == study_id and _TRIAL.fullmatch(trial):
                wanted[trial_ref(study, trial)] = commit
        return quarantine.take(wanted)
