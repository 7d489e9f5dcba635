"""The scratch copy that an agent works in: made for one call, read back once, deleted.

SCRATCH/home/              HOME of the agents of one worker; session files and sign-ins stay here
SCRATCH/call-XXXX/work/    the agent's folder: the editable file alone, no .git
SCRATCH/call-XXXX/         beside it: prompt, output, report
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workers.proposers.edits import EditFailed

MAX_SOURCE_BYTES = 256 * 1024


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
        if path.parent.resolve() != (self.folder.resolve() / self.editable).parent:
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
        """Whatever else lies in the folder now, links not followed; folders count only when they are empty, or closed
        to us."""
        found: list[str] = []

        def closed(error: OSError) -> None:
            found.append(str(Path(error.filename).relative_to(self.folder)))

        for root, folders, files in os.walk(self.folder, onerror=closed):
            here = Path(root)
            links = [name for name in folders if (here / name).is_symlink()]
            entries = [*files, *links] or ([""] if not folders and here != self.folder else [])
            found += [str((here / name).relative_to(self.folder)) for name in entries]
        return sorted(name for name in found if name != self.editable)


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
        _remove(workspace.call)


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


def _remove(folder: Path) -> None:
    """Also folders whose rights were taken away."""
    for root, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(root) / name
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
