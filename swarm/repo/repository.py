"""The repository that a study works on."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from swarm.errors import GitTimeout, NotARepository, RepoError
from swarm.failpoints import failpoint
from swarm.repo.git import Git, GitFailed, check_version, trusted_by_user
from swarm.repo.merging import merge_text
from swarm.repo.refs import REF_PREFIX
from swarm.repo.runtime import make_runtime
from swarm.repo.trees import Entry, list_tree, matches, read_blobs, read_files
from swarm.repo.worktrees import Worktrees, is_stale, remove_tree
from swarm.study.settings import Layout

LOCK_TIMEOUT_S = 60.0
STALE_REF_LOCK_AGE_S = 5.0  # git holds one for milliseconds
_INDEX_PREFIX = "index-"
_PLAIN = "100644"


@dataclass(frozen=True, slots=True)
class Repo:
    """One git repository with a working tree. Safe to use from several processes at once.

    Every method raises GitTimeout when git hangs and RepoError when git refuses.
    """

    root: Path
    common_dir: Path
    git: Git

    @classmethod
    def open(cls, path: Path) -> "Repo":
        """The repository around `path`. Raises NotARepository (also for a bare one) or GitTooOld."""
        if not path.is_dir():
            raise NotARepository(f"{path} is not a folder")
        git = Git(path.resolve())
        check_version(git)
        git = _discover(git)
        if git.line("rev-parse", "--is-bare-repository") == "true":
            raise NotARepository(f"{path} is a bare repository: a study needs a working tree, so clone it first")
        if git.line("rev-parse", "--is-inside-work-tree") != "true":
            raise NotARepository(f"{path} lies inside a .git folder: name the folder of the working tree")
        root = Path(git.line("rev-parse", "--show-toplevel"))
        common_dir = (git.folder / git.line("rev-parse", "--git-common-dir")).resolve()
        return cls(root=root, common_dir=common_dir, git=Git(root, flags=git.flags))

    def kept_brain(self, brain: Path) -> Path:
        """Where the second copy of a brain lies: inside git's own folder, where no git command and no `rm -rf .swarm`
        of a person reaches it. Makes the folder."""
        folder = self.common_dir / "swarm"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise RepoError(
                f"{folder} cannot be made: {error.strerror}. The second copy of the brain lies there."
            ) from error
        return folder / f"{brain.stem}-{hashlib.sha256(bytes(brain.absolute())).hexdigest()[:8]}.jsonl"

    def head(self) -> str:
        """The commit that is checked out, on a branch or detached. Raises RepoError if there is no commit yet."""
        try:
            return self.git.line("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        except GitFailed as error:
            raise RepoError(
                f"{self.root} has no commit yet: commit your files first (git add --all && git commit)"
            ) from error

    def uncommitted(self, prefix: str) -> list[str]:
        """Files below `prefix` that differ from HEAD or are unknown to it, relative to the repository, sorted.

        Files are compared byte for byte with what a trial would see, without the filters of .gitattributes. Ignored
        files, dot files and backups (`*~`) do not count.
        """
        committed = {entry.path: entry for entry in list_tree(self.git, self.head(), prefix)}
        differing = {path for path, entry in committed.items() if not matches(self.root / path, entry)}
        excludes = [f"--exclude={pattern}" for pattern in (".*", "*~", "__pycache__")]
        listed = ("ls-files", "-z", "--", prefix or ".")
        unknown = self.git.fields(*listed[:2], "--others", "--exclude-standard", *excludes, *listed[2:])
        staged = self.git.fields(*listed)
        return sorted(differing | {path for path in (*unknown, *staged) if path not in committed})

    def read(self, commit: str, path: str) -> str:
        """The text of a file in a commit. Raises RepoError if it is missing, no plain file, or not UTF-8."""
        entry = self._file(commit, path)
        content = read_blobs(self.git, [entry])[0]
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise RepoError(f"{path} in {commit} is not UTF-8 text: {error}") from error

    def commit_change(self, base: str, files: Mapping[str, str | None], message: str, ref: str) -> str:
        """Commits `base` with the texts of `files` replaced, and creates `ref` (below refs/swarm/) at it. A file of the
        text None is removed, one that `base` does not have is new.

        Returns the commit. Creation is compare-and-swap: a ref that already holds the same change is returned as it is,
        so that a caller that died before its acknowledgement may ask again; one that holds another change is an error.
        """
        if not ref.startswith(REF_PREFIX):
            raise RepoError(f"a trial commit goes below {REF_PREFIX}, not to {ref}")
        commit = self._write_commit(base, files, message)
        try:
            self._create_ref(ref, commit)
        except GitFailed as error:
            existing = self._resolve(ref)
            if existing is None or self._what(existing) != self._what(commit):
                raise RepoError(
                    f"{ref} cannot be created at {commit}; it holds {existing or 'nothing'}: {error}"
                ) from error
            return existing
        return commit

    def files(self, commit: str, prefix: str) -> dict[str, bytes]:
        """The files below `prefix`, by their paths relative to it, as a trial gets them.

        The bytes are those of the commit: no filter, no line-end conversion. Submodules are left out. Raises RepoError
        if the commit has nothing there, or a symbolic link, which could lead out of the folder.
        """
        return read_files(self.git, self._below(commit, prefix), prefix)

    def add_worktree(self, agent_id: str, commit: str, prefix: str) -> Path:
        """A detached worktree at `.swarm/worktrees/<agent_id>` that holds only the files below `prefix`.

        What lay there before, also half a worktree of a killed process, is replaced.
        """
        entries = self._below(commit, prefix)
        with self._lock():
            return self._worktrees().add(agent_id, commit, entries)

    def remove_worktree(self, agent_id: str) -> None:
        """Removes the folder and git's entry of it. Nothing happens if there is none."""
        with self._lock():
            self._worktrees().remove(agent_id)

    def merge(self, base_text: str, ours: str, theirs: str) -> str:
        """Three-way merge of one text. Raises MergeConflict with the number of places and the first of them."""
        return merge_text(base_text, ours, theirs)

    def create_branch(self, name: str, commit: str) -> None:
        """Creates a branch without checking it out. Raises RepoError for a bad or taken name."""
        try:
            self.git("check-ref-format", "--branch", name)
            self._create_ref(f"refs/heads/{name}", commit)
        except GitFailed as error:
            raise RepoError(f"the branch {name!r} cannot be created: {error}. Choose another name.") from error

    def adopt(self, before: Mapping[str, str], after: Mapping[str, str], branch: str, message: str) -> str:
        """Puts the change from some texts to others, by path, onto HEAD's versions, as a commit on a new branch.

        For review: nothing is checked out. Returns the commit. Raises MergeConflict if HEAD's file has moved on in the
        same places.
        """
        head = self.head()
        merged: dict[str, str | None] = dict.fromkeys(before.keys() - after.keys())
        for path, text in after.items():
            merged[path] = self.merge(before[path], self.read(head, path), text) if path in before else text
        adopted = self._write_commit(head, merged, message)
        self.create_branch(branch, adopted)
        return adopted

    def refs(self, study_id: str) -> dict[str, str]:
        """Commits of a study by trial id."""
        prefix = f"{REF_PREFIX}{study_id}/"
        lines = self.git("for-each-ref", "--format=%(objectname) %(refname)", prefix).decode().splitlines()
        return {ref.removeprefix(prefix): commit for commit, ref in (line.split(" ", 1) for line in lines)}

    def create_refs(self, commits: Mapping[str, str]) -> None:
        """All of them, by full name, or none. Raises RepoError for one that exists."""
        lines = "".join(f"create {name} {commit}\n" for name, commit in commits.items())
        with self._lock():
            failpoint("refs.before_update")
            self.git("update-ref", "--stdin", stdin=lines.encode())
            failpoint("refs.after_update")

    def heal(self) -> list[str]:
        """Removes what killed processes left behind, ours only; returns a line for each thing removed."""
        with self._lock():
            failpoint("heal.before")
            healed = self._worktrees().heal()
            for lock in sorted((self.common_dir / REF_PREFIX).glob("**/*.lock")):
                if is_stale(lock, age_s=STALE_REF_LOCK_AGE_S):
                    lock.unlink(missing_ok=True)
                    healed.append(f"removed the stale {lock}")
            for index in sorted(self._runtime().glob(f"{_INDEX_PREFIX}*")):
                if is_stale(index):
                    remove_tree(index)
                    healed.append(f"removed the left-over {index}")
            failpoint("heal.after")
        return healed

    def _below(self, commit: str, prefix: str) -> list[Entry]:
        entries = list_tree(self.git, commit, prefix)
        if not entries:
            raise RepoError(f"{commit} has no files below {prefix}: commit that folder first")
        return entries

    def _file(self, commit: str, path: str) -> Entry:
        entry = next((entry for entry in list_tree(self.git, commit, path) if entry.path == path), None)
        if entry is None or not entry.is_plain:
            raise RepoError(f"{path} is {'no plain file' if entry else 'missing'} in {commit}")
        return entry

    def _mode(self, commit: str, path: str) -> str:
        """Of a file in a commit, of a new one that of plain text. Raises RepoError where something else lies there."""
        entries = list_tree(self.git, commit, path)
        return self._file(commit, path).mode if entries else _PLAIN

    def _write_commit(self, base: str, files: Mapping[str, str | None], message: str) -> str:
        """A commit that nothing refers to yet."""
        modes = {path: self._mode(base, path) for path in files}
        failpoint("commit.before_index")
        with self._private_index() as env:
            self.git("read-tree", base, env=env)
            for path, text in files.items():
                if text is None:
                    self.git("update-index", "--force-remove", "--", path, env=env)
                    continue
                oid = self.git.line("hash-object", "-w", "--no-filters", "--stdin", stdin=text.encode())
                self.git("update-index", "--add", "--cacheinfo", f"{modes[path]},{oid},{path}", env=env)
            failpoint("commit.before_tree")
            tree = self.git.line("write-tree", env=env)
        failpoint("commit.before_commit")
        commit = self.git.line("commit-tree", tree, "-p", base, "-F", "-", stdin=message.encode())
        failpoint("commit.after_commit")
        return commit

    @contextmanager
    def _private_index(self) -> Iterator[dict[str, str]]:
        """The user's index is neither read nor locked."""
        with tempfile.TemporaryDirectory(prefix=_INDEX_PREFIX, dir=self._runtime()) as folder:
            yield {"GIT_INDEX_FILE": str(Path(folder) / "index")}

    def _create_ref(self, ref: str, commit: str) -> None:
        with self._lock():
            failpoint("ref.before_update")
            self.git("update-ref", ref, commit, "0" * len(commit))
            failpoint("ref.after_update")

    def _resolve(self, ref: str) -> str | None:
        try:
            return self.git.line("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
        except GitFailed:
            return None

    def _what(self, commit: str) -> str:
        """Tree and parents: what a commit says, without its date."""
        return self.git.line("rev-parse", f"{commit}^{{tree}}", f"{commit}^@")

    def _worktrees(self) -> Worktrees:
        self._runtime()
        return Worktrees(Layout(root=self.root), self.common_dir, self.git)

    def _runtime(self) -> Path:
        return make_runtime(Layout(root=self.root))

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One ref-changing command at a time. The file is never deleted: its inode is the lock."""
        path = self.common_dir / "swarm.lock"
        lock = FileLock(path, timeout=LOCK_TIMEOUT_S, poll_interval=0.01, fallback_to_soft=False)
        failpoint("repo.before_lock")
        try:
            lock.acquire()
        except Timeout as error:
            raise GitTimeout(
                f"{path} was held by another process for {LOCK_TIMEOUT_S:g} s: see `fuser {path}` for its pid"
            ) from error
        except OSError as error:
            raise RepoError(f"{path} cannot be locked: {error}") from error
        try:
            failpoint("repo.after_lock")
            yield
        finally:
            lock.release()
        failpoint("repo.after_unlock")


def _discover(git: Git) -> Git:
    """Adds the flag that a repository of another owner needs, if the user has said that they trust it."""
    try:
        git("rev-parse", "--git-dir")
    except GitFailed as error:
        if "safe.directory" not in str(error):
            more = "" if "not a git repository (" in str(error) else f" ({error})"
            text = f"{git.folder} is not in a git repository: run git init there and commit your files{more}"
            raise NotARepository(text) from error
        if not trusted_by_user(git.folder):
            raise NotARepository(
                f"{git.folder} belongs to another user: allow it with git config --global --add safe.directory "
                f"{git.folder}"
            ) from error
        return replace(git, flags=("-c", "safe.directory=*"))
    return git
