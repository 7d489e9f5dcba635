"""What a trial gets of the target's folder: the files of a commit, and a secret of this clone where a grader wants one.

A grader that draws its hidden items by a formula needs a number that nobody can read in the repository. It is made once
for each clone, lies inside git's own folder, and reaches a trial as a file in the private folder, which no candidate
ever meets; another one for the test split. It is in no briefing and in no folder that an agent is given. Numbers
compare within one clone only.

Not promised: that an agent with a shell of its own does not look for it, as it could for any file of yours.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from swarm.errors import RepoError
from swarm.records import Grading
from swarm.repo.repository import Repo
from swarm.study.settings import RunSettings

KEY_BYTES = 32


def trial_files(repo: Repo, settings: RunSettings, commit: str) -> dict[str, bytes]:
    """By their paths in the target's folder. Raises RepoError."""
    files = repo.files(commit, settings.target_folder)
    return with_secret(files, repo, settings.grading, settings.target_folder)


def with_secret(files: dict[str, bytes], repo: Repo, grading: Grading | None, target: str) -> dict[str, bytes]:
    """The files, and in each private folder the secret that the target asks for. Raises RepoError."""
    if grading is None or not grading.secret:
        return files
    key = _key(repo.common_dir / "swarm" / "secret.key")
    folders = [folder for folder in (grading.private, grading.test_private) if folder]
    own = {f"{folder}/{grading.secret}": _derived(key, f"{target}/{folder}") for folder in folders}
    if taken := sorted(own.keys() & files.keys()):
        raise RepoError(f"{target}/{taken[0]} is committed, and it is where this clone's secret goes: remove it")
    return {**files, **own}


def _derived(key: bytes, what: str) -> bytes:
    return hmac.new(key, what.encode(), hashlib.sha256).hexdigest().encode() + b"\n"


def _key(path: Path) -> bytes:
    """Made when it is first needed; whoever is first makes it for all. Raises RepoError."""
    try:
        path.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return _whole(path)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
        return _whole(path)
    except OSError as error:
        raise RepoError(f"{path} cannot be made or read: {error.strerror}. A grader needs it.") from error


def _whole(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise RepoError(f"{path} has {len(key)} bytes and not {KEY_BYTES}: it was damaged. Remove it for a new one.")
    return key
