"""A program of several files as one text, so that one text stays what is proposed, merged, compared and hashed. Pure.

    # ==== file: fit.py ====
    LEARNING_RATE = 0.1
    # ==== file: lib/model.py ====
    def build(): ...

A program whose target names one Python file is that file's text as it is, without a mark: what was recorded of it
before several files were possible keeps its hashes. All others have marks, in the order of their paths, also where
there is one file at the moment. Each file ends in a line feed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from swarm.errors import TargetError

_BEGINS = "# ==== file: "
_MARK = re.compile(r"# ==== file: (?P<path>[^\s\0]{1,200}) ====")


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a text of several files. `line`: of its first line in the whole text, from 1."""

    path: str
    line: int
    text: str

    @property
    def is_python(self) -> bool:
        return self.path.endswith(".py")

    @property
    def is_toml(self) -> bool:
        return self.path.endswith(".toml")


def is_several(program: str) -> bool:
    return program.startswith(_BEGINS)


def mark(path: str) -> str:
    return f"{_BEGINS}{path} ===="


def joined(files: Mapping[str, str]) -> str:
    """The one text of these files. Raises TargetError for a file with a line that reads as the mark of another one."""
    pieces = []
    for path, text in sorted(files.items()):
        if not _MARK.fullmatch(mark(path)):
            raise TargetError(f"{path!r} has a blank in its name: rename the file, or leave it out of editable")
        if any(_MARK.fullmatch(line) for line in text.split("\n")):
            raise TargetError(f"{path} has a line that begins with {_BEGINS!r}, as a mark here: change it")
        pieces.append(f"{mark(path)}\n{text}" + ("" if text.endswith("\n") or not text else "\n"))
    return "".join(pieces)


def parts(program: str) -> tuple[Part, ...]:
    """The files in their order. Raises TargetError for a text without marks, and for a path that comes twice or leads
    out of the folder."""
    found: list[Part] = []
    lines = program.split("\n")
    starts = [number for number, line in enumerate(lines) if _MARK.fullmatch(line)]
    if not starts or starts[0] != 0:
        raise TargetError(f"a program of several files begins with a line such as {mark('fit.py')!r}")
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        match = _MARK.fullmatch(lines[start])
        assert match is not None, "these are the lines that match"
        body = lines[start + 1 : end]
        text = "\n".join(body) if end == len(lines) else "".join(f"{line}\n" for line in body)
        found.append(Part(_inside(match["path"]), start + 2, text))
    paths = [part.path for part in found]
    if doubled := next((path for path in paths if paths.count(path) > 1), None):
        raise TargetError(f"{doubled} is there twice: give each file once")
    return tuple(found)


def files_of(program: str, entry: str) -> dict[str, str]:
    """Texts by path; of a program without marks, the one of `entry`. Raises TargetError as `parts`."""
    return {part.path: part.text for part in parts(program)} if is_several(program) else {entry: program}


def _inside(path: str) -> str:
    pieces = path.split("/")
    if path.startswith("/") or any(piece in ("", ".", "..", ".git") for piece in pieces):
        raise TargetError(f"{path!r} is no path inside the target's folder")
    return path
