"""SEARCH/REPLACE blocks in a model's answer, and their application to the one editable file.

    <<<<<<< SEARCH
    MAX_LR = 1e-2
    =======
    MAX_LR = 2e-2
    >>>>>>> REPLACE

Pure: text in, text out. A block applies where its SEARCH lines stand exactly once: first exactly, then with all lines
shifted by the same leading whitespace, then without blank lines at its edges. Nothing is guessed beyond that: a near
miss goes back to the model with the nearest real lines, because a wrong guess would train a program nobody proposed.
The order of the steps follows aider's `editblock_coder.py`. Blanks of another kind count as blanks; a declared constant
may be quoted without the comment behind it, and keeps it. Hunks of a diff are blocks, too (`forms`).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from swarm.program import several
from workers.proposers.forms import hunks, plain_line, plain_lines, unescaped, without_numbers
from workers.proposers.nearest import MAX_QUOTED, nearest

_OPEN = re.compile(r"(?i)^\s*(?:<{5,9}|-{5,9}) ?(?:SEARCH|ORIGINAL)\b[>:]?(?: [\w./\\~-]+)?\s*$")
_MIDDLE = re.compile(r"^\s*={5,9}\s*$")
_CLOSE = re.compile(r"(?i)^\s*(?:>{5,9}|\+{5,9}) ?(?:REPLACE|UPDATED)\b:?(?: [\w./\\~-]+)?\s*$")
_FENCE = re.compile(r"^\s*(`{3,}|~{3,})\s*([\w+-]*)(?: [^`]*)?$")
_PATH = re.compile(r"^[\w./\\~-]+\.\w{1,5}$|^[\w.~-]*[/\\][\w./\\~-]+$")

MAX_BLOCKS = 40


class EditFailed(Exception):
    """The answer is no edit of the file. The message is written for the model that has to repair it."""


@dataclass(frozen=True, slots=True)
class Edit:
    """`path`: the file that the block is for, where the answer names one of several."""

    search: str
    replace: str
    path: str = ""


def parse_edits(answer: str, *files: str) -> list[Edit]:
    """The blocks of an answer in their order; fences and prose around them are ignored. `files`: of the program.

    Raises EditFailed for a block that is not closed, that names a file of no program's, or for too many blocks.
    """
    lines = _lines(unescaped(answer))
    edits: list[Edit] = []
    at = 0
    while at < len(lines):
        if _OPEN.match(lines[at]):
            path = _labelled([*lines[:at], lines[at].split()[-1]], files)
            middle = _find(lines, at + 1, _MIDDLE, len(edits) + 1)
            close = _find(lines, middle + 1, _CLOSE, len(edits) + 1)
            edits.append(Edit("\n".join(lines[at + 1 : middle]), "\n".join(lines[middle + 1 : close]), path))
            at = close
        at += 1
    edits = edits or _of_a_diff("\n".join(lines), files)
    if len(edits) > MAX_BLOCKS:
        raise EditFailed(f"{len(edits)} blocks; at most {MAX_BLOCKS} fit one change. Propose one change only.")
    return edits


def apply_edits(source: str, edits: Sequence[Edit]) -> str:
    """The text with all edits made one after the other; each must match exactly once in the text so far.

    Line ends stay as they are in `source`. Raises EditFailed, which says which block failed and quotes what is there.
    """
    if not several.is_several(source):
        return _apply_all(source, list(enumerate(edits, 1)))
    for number, edit in enumerate(edits, 1):
        source = _apply_to_one(source, edit, number)
    return source


def _apply_to_one(program: str, edit: Edit, number: int) -> str:
    """In the file that the block names, else in the one text of all, where its lines must stand once."""
    files = several.files_of(program, "")
    if edit.path not in files:
        return _apply_all(program, [(number, edit)])
    return several.joined({**files, edit.path: _apply_all(files[edit.path], [(number, edit)])})


def _apply_all(source: str, edits: Sequence[tuple[int, Edit]]) -> str:
    newline = "\r\n" if "\r\n" in source else "\n"
    lines = _lines(source)
    for number, edit in edits:
        lines = _apply(lines, edit, number)
    return newline.join(lines)


def whole_file(answer: str) -> str | None:
    """The longest fenced block of code in an answer, which may be the whole new file; None if there is none.

    A fence inside the file (in a docstring) is passed over when the outer fence has more backticks.
    """
    answer = unescaped(answer)
    blocks = [block for language, block in fenced_blocks(answer) if language in ("", "python", "py", "python3")]
    text = max(blocks, key=len, default="")
    return text + "\n" if text.strip() else None


def fenced_blocks(answer: str) -> Iterator[tuple[str, str]]:
    """(language, text) of each fenced block; a fence closes with at least as many backticks as it was opened with."""
    opened: tuple[str, str] | None = None
    block: list[str] = []
    for line in _lines(answer):
        fence = _FENCE.match(line)
        if opened is None:
            if fence:
                opened, block = (fence[1], fence[2].lower()), []
        elif fence and fence[1].startswith(opened[0]) and line.strip() == fence[1]:
            yield opened[1], "\n".join(block)
            opened = None
        else:
            block.append(line)


def _of_a_diff(answer: str, files: Sequence[str]) -> list[Edit]:
    edits = [Edit(before, after) for before, after in hunks(answer)]
    if edits:
        _labelled(re.findall(r"(?m)^(?:\+\+\+|\*\*\* (?:Update|Add) File:) +(?:b/)?(\S+)", answer)[-2:], files)
    return edits


def _labelled(before: Sequence[str], files: Sequence[str]) -> str:
    """A path on one of the two lines before a block is its label; a label of another file is refused. Empty: none."""
    found = ""
    for label in (line.strip().strip("`*#: ") for line in before[-2:]):
        if not _PATH.match(label):
            continue
        fits = [path for path in files if path == label] or [
            path for path in files if PurePosixPath(path).name == PurePosixPath(label).name
        ]
        if not fits:
            known = ", ".join(files)
            raise EditFailed(f"a block names {label[:80]!r}; only {known} may change. Leave the other file out.")
        found = fits[0] if len(fits) == 1 else found
    return found


def _lines(text: str) -> list[str]:
    """Split at line feeds only: form feeds and their like are part of a line, as for Python."""
    return text.replace("\r\n", "\n").split("\n")


def _find(lines: Sequence[str], start: int, marker: re.Pattern[str], number: int) -> int:
    for index in range(start, len(lines)):
        if marker.match(lines[index]):
            return index
        if _OPEN.match(lines[index]):
            break
    what = "=======" if marker is _MIDDLE else ">>>>>>> REPLACE"
    raise EditFailed(f"block {number} is not complete: its line {what!r} is missing. Send every block whole.")


def _apply(lines: list[str], edit: Edit, number: int) -> list[str]:
    search, replace = edit.search.split("\n"), edit.replace.split("\n") if edit.replace else []
    if not edit.search.strip():
        raise EditFailed(f"block {number} has an empty SEARCH: quote the lines that it goes before or after.")
    if (unnumbered := without_numbers(search)) is not None:
        search, replace = unnumbered, without_numbers(replace) or replace
    replace = plain_lines(replace, lines)
    for match in (_exact, _shifted, _trimmed, _plain, _uncommented):
        places = list(match(lines, search, replace))
        if len(places) > 1:
            raise EditFailed(_ambiguous(number, [place.start for place in places]))
        if places:
            place = places[0]
            return lines[: place.start] + place.replacement + lines[place.start + place.length :]
    raise EditFailed(_missing(lines, search, number))


@dataclass(frozen=True, slots=True)
class _Place:
    start: int
    length: int
    replacement: list[str]


def _exact(lines: list[str], search: list[str], replace: list[str]) -> Iterator[_Place]:
    for start in range(len(lines) - len(search) + 1):
        if lines[start : start + len(search)] == search:
            yield _Place(start, len(search), replace)


def _shifted(lines: list[str], search: list[str], replace: list[str]) -> Iterator[_Place]:
    """The same lines but for one common indentation and for trailing blanks."""
    bare = [line.strip() for line in search]
    for start in range(len(lines) - len(search) + 1):
        window = lines[start : start + len(search)]
        if [line.strip() for line in window] != bare:
            continue
        shift = _shift(window, search)
        shifted = None if shift is None else _all(shift, replace)
        if shifted is not None:
            yield _Place(start, len(search), shifted)


def _trimmed(lines: list[str], search: list[str], replace: list[str]) -> Iterator[_Place]:
    """Without blank lines at the edges of SEARCH, which models add; REPLACE loses as many blank ones there."""
    filled = [index for index, line in enumerate(search) if line.strip()]
    head, tail = filled[0], len(search) - 1 - filled[-1]
    if head == tail == 0:
        return
    core = search[head : len(search) - tail]
    while head and replace and not replace[0].strip():
        replace, head = replace[1:], head - 1
    while tail and replace and not replace[-1].strip():
        replace, tail = replace[:-1], tail - 1
    yield from _shifted(lines, core, replace)


def _places(lines: list[str], search: list[str], replace: list[str]) -> list[_Place]:
    """Where the first of the strict ways finds it."""
    ways = (list(match(lines, search, replace)) for match in (_exact, _shifted, _trimmed))
    return next(filter(None, ways), [])


def _plain(lines: list[str], search: list[str], replace: list[str]) -> Iterator[_Place]:
    """With other characters for blanks, in either; lines that only differ by these stay as they are in the file."""
    readable, asked = [plain_line(line) for line in lines], [plain_line(line) for line in search]
    if (readable, asked) == (lines, search):
        return
    for place in _places(readable, asked, replace):
        window = slice(place.start, place.start + place.length)
        kept = dict(zip(readable[window], lines[window], strict=True))
        yield _Place(place.start, place.length, [kept.get(line, line) for line in place.replacement])


def _uncommented(lines: list[str], search: list[str], replace: list[str]) -> Iterator[_Place]:
    """Lines of the file quoted without the comment that follows a constant; a line in their place keeps it, if it sets
    the same name and has none."""
    bare = [_SEARCHED.sub("", line) for line in lines]
    if bare == lines:
        return
    for place in _places(bare, search, replace):
        window = slice(place.start, place.start + place.length)
        comments = {name[0]: line[len(name[0]) :] for line in lines[window] if (name := _SET.match(line))}
        behind = {name: found[0] for name, rest in comments.items() if (found := _SEARCHED.search(rest))}
        kept = []
        for line in place.replacement:
            name = _SET.match(line)
            kept.append(line + behind[name[0]] if name and name[0] in behind and "#" not in line else line)
        yield _Place(place.start, place.length, kept)


_SEARCHED = re.compile(r"\s*# search: .*$")
_SET = re.compile(r"^[A-Z][A-Z0-9_]* = ")


_Shift = Callable[[str], str | None]


def _shift(window: Sequence[str], search: Sequence[str]) -> _Shift | None:
    """What turns the indentation of SEARCH into that of the file; None where lines differ by unlike indentations."""
    pairs = [(_indent(real), _indent(said)) for real, said in zip(window, search, strict=True) if real.strip()]
    real, said = min(pairs, key=lambda pair: len(pair[1]))
    if real.endswith(said):
        prefix = real[: len(real) - len(said)]
        fits = all(ours == prefix + theirs for ours, theirs in pairs)
        return (lambda line: prefix + line) if fits else None
    if said.endswith(real):
        prefix = said[: len(said) - len(real)]
        fits = all(prefix + ours == theirs for ours, theirs in pairs)
        return (lambda line: line[len(prefix) :] if line.startswith(prefix) else None) if fits else None
    return None


def _all(shift: _Shift, lines: Sequence[str]) -> list[str] | None:
    shifted = [shift(line) if line.strip() else "" for line in lines]
    return None if None in shifted else [line for line in shifted if line is not None]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _ambiguous(number: int, starts: Sequence[int]) -> str:
    where = ", ".join(str(start + 1) for start in starts[:8])
    return f"block {number}: its SEARCH lines stand {len(starts)} times in the file (lines {where}). Quote more lines."


def _missing(lines: Sequence[str], search: Sequence[str], number: int) -> str:
    said = "\n".join(search[:MAX_QUOTED])
    near = nearest(lines, search)
    quoted = "\n".join(near)
    hint = f"\nDid you mean these lines of the file?\n{quoted}" if near else ""
    elided = any(line.strip() in ("...", "# ...") for line in search)
    more = "\nSEARCH must quote every line; do not leave lines out with '...'." if elided else ""
    return f"block {number}: its SEARCH lines are not in the file.\nYou wrote:\n{said}{hint}{more}"
