"""The scratch copy that an agent works in: made for one call, read back once, deleted.

SCRATCH/home/              HOME of the agents of one worker; session files and sign-ins stay here
SCRATCH/call-XXXX/work/    the agent's folder: the editable files alone, no .git
SCRATCH/call-XXXX/         beside it: prompt, output, report
"""

import contextlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from filelock import FileLock

from swarm.errors import TargetError
from swarm.program import several
from swarm.program.globs import may_change
from swarm.records import TargetTerms
from swarm.trial.files import remove_tree
from workers.proposers.edits import EditFailed

MAX_SOURCE_BYTES = 256 * 1024
MAX_STRAYS = 2000
_PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Workspace:
    """`terms`: of a program of several files; None for the one file at `editable`, relative to `folder`."""

    call: Path
    editable: str
    terms: TargetTerms | None = None

    @property
    def folder(self) -> Path:
        return self.call / "work"

    def read_back(self) -> str:
        """The edited program. Raises EditFailed for anything but plain UTF-8 files of bounded size in their places."""
        if self.terms is None:
            return self._read(self.editable)
        names = [name for name in self.found() if may_change(name, self.terms)]
        if len(names) > self.terms.max_files:
            raise EditFailed(f"{len(names)} files; {self.terms.max_files} are allowed")
        try:
            return several.joined({name: self._read(name) for name in names})
        except TargetError as error:
            raise EditFailed(str(error)) from error

    def _read(self, name: str) -> str:
        path = self.folder / name
        try:
            moved = path.parent.resolve() != (self.folder.resolve() / name).parent
        except (OSError, RuntimeError):  # links in a circle
            moved = True
        if moved:
            raise EditFailed(f"the folder of {name} was replaced")
        try:
            handle = os.open(path, _PLAIN)
        except OSError as error:
            raise EditFailed(f"{name} cannot be read back: {error.strerror}") from error
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise EditFailed(f"{name} is no plain file any more")
            content = os.read(handle, MAX_SOURCE_BYTES + 1)
        finally:
            os.close(handle)
        if len(content) > MAX_SOURCE_BYTES:
            raise EditFailed(f"{name} is larger than {MAX_SOURCE_BYTES} bytes")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise EditFailed(f"{name} is not UTF-8: {error.reason}") from error

    def strays(self) -> list[str]:
        """Whatever else lies in the folder now."""
        terms = self.terms
        if terms is None:
            return [name for name in self.found() if name != self.editable]
        return [name for name in self.found() if not may_change(name, terms)]

    def outside(self, paths: Iterable[str]) -> list[str]:
        """Those that do not lie in the folder, whatever they were called."""
        folder = os.path.realpath(self.folder)
        resolved = ((path, os.path.realpath(os.path.join(folder, path))) for path in paths)  # noqa: PTH118
        return [path for path, real in resolved if os.path.commonpath((folder, real)) != folder]

    def found(self) -> list[str]:
        """What lies in the folder now, links not followed, at most MAX_STRAYS; folders count only when they are empty,
        or closed to us."""
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
        return sorted(name for name in found[:MAX_STRAYS] if name != ".")


@contextmanager
def open_workspace(scratch: Path, editable: str, source: str, terms: TargetTerms | None = None) -> Iterator[Workspace]:
    """A fresh folder below `scratch` with the program's files in it; gone afterwards, whatever the agent made of it.
    `terms` say what of it may change, where the program has several files."""
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = several.files_of(source, editable)
    many = terms if several.is_several(source) else None
    workspace = Workspace(Path(tempfile.mkdtemp(prefix="call-", dir=scratch)), min(files), many)
    try:
        for name, text in files.items():
            path = workspace.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")
        yield workspace
    finally:
        remove_tree(workspace.call)


@dataclass(frozen=True, slots=True)
class AgentHome:
    """The agents' own home, with copies of the files that the user signs in with. `taken`: each file of the user's with
    its copy and what both held at first."""

    folder: Path
    taken: tuple[tuple[Path, Path, bytes], ...] = ()

    def give_back(self) -> None:
        """A sign-in that the agent renewed goes back to the user, or the user would be signed out: as JSON alone, and
        not where the user has renewed it meanwhile. Configuration never goes back."""
        for theirs, ours, before in self.taken:
            if not re.search(r"auth|credential", theirs.name):
                continue
            with contextlib.suppress(OSError, ValueError), FileLock(f"{theirs}.swarm-lock", timeout=10):
                after = _plain(ours)
                if after == before or theirs.read_bytes() != before:
                    continue
                json.loads(after)
                fresh = theirs.with_name(f"{theirs.name}.swarm-new")
                fresh.touch(mode=0o600)
                fresh.write_bytes(after)
                fresh.replace(theirs)


def make_home(scratch: Path, login: tuple[str, ...], users_home: Path) -> AgentHome:
    home = scratch / "home"
    (home / "tmp").mkdir(parents=True, exist_ok=True, mode=0o700)
    taken = []
    for name in login:
        ours, theirs = home / name, users_home / name
        with contextlib.suppress(OSError):
            content = theirs.read_bytes()
            ours.parent.mkdir(parents=True, exist_ok=True)
            ours.unlink(missing_ok=True)  # a link would be followed
            ours.touch(mode=0o600)
            ours.write_bytes(content)
            taken.append((theirs, ours, content))
    return AgentHome(home, tuple(taken))


def put_files(home: Path, files: Mapping[str, str]) -> None:
    """Writes them anew, below the home of the agents. A link that one of them left is not followed."""
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8")


def _plain(path: Path) -> bytes:
    """What a plain file holds that an agent may have exchanged. Raises OSError."""
    handle = os.open(path, _PLAIN)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is no plain file")
        return file.read(MAX_SOURCE_BYTES)
