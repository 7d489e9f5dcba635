"""Commits of a study that ran on another machine: looked at in a repository of their own before they come into ours.

What comes from there is data. Nothing of it is checked out, no hook and no filter runs, git checks each object, and
sizes are bounded; only then are the objects copied, and refs created that did not exist. A ref that says something else
here is never moved.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from swarm.errors import RepoError
from swarm.repo.git import Git, GitFailed
from swarm.repo.repository import Repo

FETCH_LIMIT_S = 120.0
MAX_PACK_MIB = 512
MAX_OBJECTS = 100_000
MAX_OBJECT_BYTES = 16 * 2**20
_INCOMING = "refs/incoming/"
CAREFUL = (
    *("-c", "fetch.fsckObjects=true"),
    *("-c", "protocol.allow=never", "-c", "protocol.file.allow=always", "-c", "protocol.ssh.allow=always"),
    *("-c", "protocol.https.allow=always"),
)


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A bare repository beside ours that borrows our objects, so that only what is new travels. Safe to delete."""

    folder: Path
    repo: Repo

    def fetch(self, address: str, env: Mapping[str, str], branch: str | None = None) -> dict[str, str]:
        """What the other repository has below refs/swarm/ now, by name without that beginning, and the branch, if one
        is asked for, by its full name. Raises RepoError for what cannot be reached, is too large or is malformed; the
        quarantine is made anew then."""
        if address.startswith("-"):
            raise RepoError(f"{address!r} is no address of a repository")
        git = self._made()
        careful = replace(git, flags=CAREFUL, timeout_s=FETCH_LIMIT_S, file_limit_mib=MAX_PACK_MIB)
        wanted = [f"+refs/swarm/*:{_INCOMING}*", *([f"+{branch}:{_INCOMING}{branch}"] if branch else [])]
        try:
            careful("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--prune", address, *wanted, env=env)
            found = self._incoming(git)
            self._check(git, found)
        except RepoError:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return found

    def take(self, commits: Mapping[str, str]) -> int:
        """Creates these refs of ours, by full name, at commits that were fetched. Returns how many are new. Raises
        RepoError for one that is here and says something else: then none is created."""
        here = _refs(self.repo.git, "refs/swarm/")
        if moved := sorted(name for name, commit in commits.items() if here.get(name, commit) != commit):
            name = moved[0]
            raise RepoError(
                f"{name} is {here[name]} here and {commits[name]} there ({len(moved)} such refs): nothing was taken. "
                "Rename ours with git update-ref if theirs is wanted."
            )
        new = {name: commit for name, commit in commits.items() if name not in here}
        if not new:
            return 0
        git = Git(self.folder, flags=self.repo.git.flags, timeout_s=FETCH_LIMIT_S)
        pack = git("pack-objects", "--revs", "--stdout", "-q", stdin=self._wanted(list(new.values())))
        slow = replace(self.repo.git, timeout_s=FETCH_LIMIT_S)
        slow("index-pack", "--stdin", "--fix-thin", stdin=pack)
        self.repo.create_refs(new)
        return len(new)

    def read(self, commit: str, path: str, limit_bytes: int) -> bytes | None:
        """A file of a commit that was fetched; None where there is none. Raises RepoError for a larger one."""
        git = Git(self.folder, flags=self.repo.git.flags, timeout_s=FETCH_LIMIT_S)
        try:
            kind, size = git.line(
                "cat-file", "--batch-check=%(objecttype) %(objectsize)", stdin=f"{commit}:{path}".encode()
            ).split()
        except (GitFailed, ValueError):
            return None
        if kind != "blob":
            return None
        if int(size) > limit_bytes:
            raise RepoError(f"{path} has {size} bytes, over the limit of {limit_bytes}: it is not taken")
        return git("cat-file", "blob", f"{commit}:{path}")

    def _made(self) -> Git:
        git = Git(self.folder, flags=self.repo.git.flags)
        if not (self.folder / "objects").is_dir():
            self.folder.mkdir(parents=True, exist_ok=True)
            git("init", "--quiet", "--bare")
        alternates = self.folder / "objects" / "info" / "alternates"
        alternates.parent.mkdir(exist_ok=True)
        alternates.write_text(f"{self.repo.common_dir / 'objects'}\n", encoding="utf-8")
        return git

    def _incoming(self, git: Git) -> dict[str, str]:
        return {name.removeprefix(_INCOMING): commit for name, commit in _refs(git, _INCOMING).items()}

    def _wanted(self, commits: list[str]) -> bytes:
        """For git's --revs: these, without what our repository has."""
        ours = set(_refs(self.repo.git, "").values())
        return "".join([*(f"{commit}\n" for commit in commits), *(f"^{commit}\n" for commit in ours)]).encode()

    def _check(self, git: Git, found: Mapping[str, str]) -> None:
        if not found:
            return
        listed = git("rev-list", "--objects", "--stdin", stdin=self._wanted(sorted(set(found.values()))))
        names = [line.split(b" ", 1)[0] for line in listed.splitlines()]
        if len(names) > MAX_OBJECTS:
            raise RepoError(f"{len(names)} new objects are over the limit of {MAX_OBJECTS}: nothing is taken")
        if not names:
            return
        sizes = git("cat-file", "--batch-check=%(objectsize) %(objecttype)", stdin=b"\n".join(names) + b"\n")
        for line in sizes.splitlines():
            size = line.split(b" ", 1)[0]
            if not size.isdigit() or int(size) > MAX_OBJECT_BYTES:
                raise RepoError(f"an object of {size.decode(errors='replace')} bytes is over {MAX_OBJECT_BYTES}")
        for name, commit in found.items():
            if git.line("cat-file", "-t", commit) != "commit":
                raise RepoError(f"{name} is no commit")


def _refs(git: Git, prefix: str) -> dict[str, str]:
    lines = (
        git("for-each-ref", "--format=%(objectname) %(refname)", *([prefix] if prefix else [])).decode().splitlines()
    )
    return {name: commit for commit, name in (line.split(" ", 1) for line in lines)}
