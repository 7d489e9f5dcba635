"""Our worktrees: detached, with the target's folder only, so that no stale copy of anything else lies in them.

Sparse by the skip-worktree bits of their own index and not by `git sparse-checkout`, which would write into the
configuration that the user's checkout shares. All functions here expect that the caller holds the repository's lock.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from swarm.clock import SystemClock
from swarm.errors import RepoError
from swarm.failpoints import failpoint
from swarm.repo.git import Git
from swarm.repo.trees import Entry, write_files
from swarm.study.settings import Layout

STALE_LOCK_AGE_S = 60.0
_AGENT_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Worktrees:
    layout: Layout
    common_dir: Path
    git: Git

    def add(self, agent_id: str, commit: str, entries: Sequence[Entry]) -> Path:
        """Replaces whatever is there by a new worktree at `commit` that holds `entries`."""
        self.remove(agent_id)
        path = self._path(agent_id)
        failpoint("worktree.before_add")
        self.git("worktree", "add", "--detach", "--no-checkout", str(path), commit)
        failpoint("worktree.after_add")
        self._fill(path, commit, entries)
        failpoint("worktree.after_fill")
        return path

    def remove(self, agent_id: str) -> None:
        path = self._path(agent_id)
        admin = self._admin(path)
        failpoint("worktree.before_remove")
        for folder in (path, admin):
            if folder is not None and os.path.lexists(folder):
                remove_tree(folder)
                failpoint("worktree.removed_a_part")

    def heal(self) -> list[str]:
        """Removes entries of missing worktrees and stale index locks, ours only; says what it removed."""
        healed = []
        for admin, path in self._ours():
            lock = admin / "index.lock"
            if not path.exists():
                remove_tree(admin)
                healed.append(f"removed git's entry of the missing worktree {path}")
            elif is_stale(lock):
                lock.unlink(missing_ok=True)
                healed.append(f"removed the stale {lock}")
        return healed

    def _fill(self, path: Path, commit: str, entries: Sequence[Entry]) -> None:
        admin = self._admin(path)
        if admin is None:
            raise RepoError(f"git has no entry for the worktree {path} that it has just made")
        # Named explicitly: the .git file in the worktree is within reach of whoever works there.
        env = {"GIT_DIR": str(admin), "GIT_WORK_TREE": str(path)}
        git = Git(path, self.git.flags)
        git("update-ref", "--no-deref", "HEAD", commit, env=env)
        git("read-tree", commit, env=env)
        inside = {entry.path for entry in entries}
        outside = [name for name in git.fields("ls-files", "-z", env=env) if name not in inside]
        names = os.fsencode("".join(f"{name}\0" for name in outside))
        git("update-index", "--skip-worktree", "-z", "--stdin", stdin=names, env=env)
        write_files(self.git, entries, path)

    def _path(self, agent_id: str) -> Path:
        if not _AGENT_ID.fullmatch(agent_id):
            raise RepoError(f"{agent_id!r} cannot be the name of a worktree: use letters, digits, _ and -")
        return self.layout.worktree(agent_id)

    def _admin(self, path: Path) -> Path | None:
        return next((admin for admin, worktree in self._ours() if worktree == path.resolve()), None)

    def _ours(self) -> Iterator[tuple[Path, Path]]:
        """(git's folder for it, the worktree) of each registered worktree below ours; never the user's own."""
        ours = self.layout.worktree("_").parent.resolve()
        for record in sorted((self.common_dir / "worktrees").glob("*/gitdir")):
            # Absolute, or relative to the entry with worktree.useRelativePaths.
            worktree = (record.parent / record.read_text().strip()).parent.resolve()
            if worktree.parent == ours:
                yield record.parent, worktree


def is_stale(lock: Path, *, age_s: float = STALE_LOCK_AGE_S) -> bool:
    """Older than `age_s` by the file system's clock, and no process of ours has it open."""
    try:
        age = SystemClock().now() - lock.stat().st_mtime
    except FileNotFoundError:
        return False
    return age > age_s and not _is_open(lock)


def remove_tree(path: Path) -> None:
    """As rm -rf: links are not followed, and folders without write permission are no obstacle."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    path.chmod(0o700)
    for child in path.iterdir():
        remove_tree(child)
    path.rmdir()


def _is_open(path: Path) -> bool:
    wanted = str(path.resolve())
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(descriptor.readlink()) == wanted:
                return True
        except OSError:  # the process or the descriptor has gone, or it is not ours to look at
            continue
    return False
