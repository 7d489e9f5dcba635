"""The scratch copy that an agent works in: made for one call, read back once, deleted.

SCRATCH/home/              HOME of the agents of one worker; session files and sign-ins stay here
SCRATCH/call-XXXX/work/    the agent's folder: the editable file alone, no .git
SCRATCH/call-XXXX/         beside it: prompt, output, report
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from swarm.trial.files import remove_tree
from workers.proposers.edits import EditFailed

MAX_SOURCE_BYTES = 256 * 1024
MAX_STRAYS = 2000


@dataclass(frozen=True, slots=True)
class Workspace:
    call: Path
    editable: str  # relative to `folder`

    @property
    def folder(self) -> Path:
        return self.call / "work"

    def read_back(self) -> str:
        """The edited text. Raises EditFailed for anything but a plain UTF-8 file of bounded size in its old place."""
        path = self.folder / self.editable
        try:
            moved = path.parent.resolve() != (self.folder.resolve() / self.editable).parent
        except (OSError, RuntimeError):  # links in a circle
            moved = True
        if moved:
            raise EditFailed(f"the folder of {self.editable} was replaced")
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise EditFailed(f"{self.editable} cannot be read back: {error.strerror}") from error
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise EditFailed(f"{self.editable} is no plain file any more")
            content = os.read(handle, MAX_SOURCE_BYTES + 1)
        finally:
            os.close(handle)
        if len(content) > MAX_SOURCE_BYTES:
            raise EditFailed(f"{self.editable} is larger than {MAX_SOURCE_BYTES} bytes")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise EditFailed(f"{self.editable} is not UTF-8: {error.reason}") from error

    def strays(self) -> list[str]:
        """Whatever else lies in the folder now, links not followed, at most MAX_STRAYS; folders count only when they
        are empty, or closed to us."""
        found: list[str] = []
        folders = [self.folder]
        while folders and len(found) < MAX_STRAYS:
            here = folders.pop()
            try:
                with os.scandir(here) as listed:
                    entries = list(islice(listed, MAX_STRAYS))
            except OSError:
                entries = []
            inner = [Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False)]
            folders += inner
            files = [Path(entry) for entry in entries if not entry.is_dir(follow_symlinks=False)]
            found += [str(path.relative_to(self.folder)) for path in files or ([] if inner else [here])]
        return sorted(name for name in found[:MAX_STRAYS] if name not in (self.editable, "."))


@contextmanager
def open_workspace(scratch: Path, editable: str, source: str) -> Iterator[Workspace]:
    """A fresh folder below `scratch` with the one file in it; gone afterwards, whatever the agent made of it."""
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    workspace = Workspace(Path(tempfile.mkdtemp(prefix="call-", dir=scratch)), editable)
    try:
        path = workspace.folder / editable
        path.parent.mkdir(parents=True)
        path.write_text(source, encoding="utf-8", newline="")
        yield workspace
    finally:
        remove_tree(workspace.call)


def make_home(scratch: Path, login: tuple[str, ...], users_home: Path) -> Path:
    """The agents' own home; files that the user signs in with are linked into it and never copied."""
    home = scratch / "home"
    (home / "tmp").mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in login:
        ours, theirs = home / name, users_home / name
        if theirs.exists() and not ours.is_symlink() and not ours.exists():
            ours.parent.mkdir(parents=True, exist_ok=True)
            ours.symlink_to(theirs)
    return home
