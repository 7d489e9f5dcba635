"""A second copy of the brain, out of reach of what a person does with the file itself.

The brain is a file of the person's repository: `git stash`, a checkout, a reset or an `rm` exchange it while a study
runs. Each append goes into the copy too, so the copy says what was acknowledged. Where the brain no longer begins with
it, the brain is put back from it, and what lay there is set aside under a name of its own: nothing is merged.

All methods expect that the caller holds the brain's lock. Not promised: the copy is not synced to the disk on its own,
because it is only needed when the brain is harmed, not when the machine goes down; on a full disk it may lag behind.
"""

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from swarm.brain.disk import Disk, append_durably, opened_for_append
from swarm.errors import BrainError, DiskFull
from swarm.failpoints import failpoint

_ANCHOR_BYTES = 256
_CHUNK_BYTES = 1 << 20
_NAME_DIGITS = 12


class Kept:
    """The copy at `path` of one brain. It may be missing: then the next append makes it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def follow(self, brain_fd: int, end: int) -> None:
        """Add what the brain has up to byte `end`, which ends a line. A disk that refuses costs the copy only."""
        with contextlib.suppress(OSError):
            fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                position = os.fstat(fd).st_size
                while position < end and (chunk := os.pread(brain_fd, min(_CHUNK_BYTES, end - position), position)):
                    position += os.write(fd, chunk)
            finally:
                os.close(fd)

    def lost(self, brain: Path) -> bool:
        """Whether the brain no longer begins with the copy. Two files that are long are compared by their last bytes
        at the copy's end, which hold the hash of all lines before."""
        try:
            kept = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _begins_with(brain, kept)
        finally:
            os.close(kept)

    def put_back(self, brain: Path, disk: Disk) -> str:
        """The brain as the copy has it; a sentence for the people and the log. Raises DiskFull and BrainError."""
        what = self._set_aside(brain)
        draft = brain.with_name(f"{brain.name}.putback")
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        with _said_as_brain_error(brain):
            draft.unlink(missing_ok=True)
            failpoint("putback.before_draft")
            with opened_for_append(draft) as fd:
                append_durably(disk, fd, draft, whole)
            failpoint("putback.drafted")
            draft.replace(brain)
            failpoint("putback.replaced")
        lines = whole.count(b"\n")
        return f"{brain.name} {what}; it was put back with all {lines} lines"

    def retire(self, brain: Path) -> str | None:
        """Forget the copy, for a study that begins on whatever brain is there now. If that has lost lines of the copy,
        the copy is set aside: a sentence says where."""
        if not self.lost(brain):
            self.path.unlink(missing_ok=True)
            return None
        content = self.path.read_bytes()
        aside = self.path.with_name(f"{self.path.stem}.{_name_of(content)}.jsonl")
        failpoint("retire.before")
        self.path.replace(aside)
        failpoint("retire.after")
        lines = content.count(b"\n")
        return f"An earlier study left {lines} lines that {brain.name} does not hold any more; they are kept in {aside}"

    def _set_aside(self, brain: Path) -> str:
        """Keeps what lies at the brain's path now, and says what that was."""
        try:
            found = brain.read_bytes()
        except FileNotFoundError:
            return "was deleted while it was in use"
        except OSError as problem:
            raise BrainError(f"cannot read {brain}: {problem.strerror}. Move it away; it is put back then.") from None
        older = self.path.read_bytes().startswith(found)
        folder = self.path.parent if older else brain.parent
        aside = folder / f"{brain.stem}.{_name_of(found)}.replaced"
        with _said_as_brain_error(brain):
            shutil.copyfile(brain, aside)
        kind = "an older version of it" if older else "another file, with lines that the study does not know"
        return f"was replaced by {kind} (kept as {aside})"


def _begins_with(brain: Path, kept: int) -> bool:
    size = os.fstat(kept).st_size
    try:
        fd = os.open(brain, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return size == 0
    except OSError as problem:
        raise BrainError(f"cannot read {brain}: {problem.strerror}") from problem
    try:
        start = max(0, size - _ANCHOR_BYTES)
        return os.pread(fd, size - start, start) == os.pread(kept, size - start, start)
    except IsADirectoryError:
        raise BrainError(f"{brain} is a folder. Move it away; the brain is put back then.") from None
    finally:
        os.close(fd)


def _name_of(content: bytes) -> str:
    """The same version again gets the same name, so that a loop of checkouts fills no disk."""
    return hashlib.sha256(content).hexdigest()[:_NAME_DIGITS]


@contextlib.contextmanager
def _said_as_brain_error(brain: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        kind = DiskFull if problem.errno in (errno.ENOSPC, errno.EDQUOT) else BrainError
        raise kind(
            f"{brain} was replaced while it was in use and cannot be put back: {problem.strerror}. "
            "Nothing is lost: make room in its folder and start again with --resume."
        ) from problem
