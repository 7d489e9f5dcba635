"""Edits, and their application to the one editable file. Pure: text in, text out.

A block applies where its SEARCH lines stand exactly once: first exactly, then with all lines
shifted by the same leading whitespace, then without blank lines at its edges. Nothing is guessed beyond that: a near
miss goes back to the model with the nearest real lines, because a wrong guess would train a program nobody proposed.
The order of the steps follows aider's `editblock_coder.py`. Blanks of another kind count as blanks; a declared constant
may be quoted without the comment behind it, and keeps it. Lines that SEARCH and REPLACE both leave out, each with as
many "...", stay; then what is between counts as blocks of their own.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from swarm.program import several
from workers.proposers.forms import lines_of, plain_line, plain_lines, straight, without_numbers
from workers.proposers.nearest import MAX_QUOTED, nearest

DOTS = ("...", "# ...", "…", "# …")


class EditFailed(Exception):
    """The answer is no edit of the file. The message is written for the model that has to repair it."""


@dataclass(frozen=True, slots=True)
class Edit:
    """`path`: the file that the block is for, where the answer names one of several."""

    search: str
    replace: str
    path: str = ""


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
    lines = lines_of(source)
    for number, edit in edits:
        lines = _apply(lines, edit, number)
    return newline.join(lines)


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
    if straight(edit.search) != edit.search:
        return _apply(lines, Edit(straight(edit.search), straight(edit.replace)), number)
    if (pieces := _between_dots(search, replace)) is not None:
        for piece in pieces:
            lines = _apply(lines, piece, number)
        return lines
    raise EditFailed(_missing(lines, search, number))


def _between_dots(search: list[str], replace: list[str]) -> list[Edit] | None:
    """The parts of both that lie between lines of dots, pair by pair; None where there are no dots or not as many."""
    before, after = _parts(search), _parts(replace)
    if len(before) == 1 or len(before) != len(after):
        return None
    pairs = [Edit(*pair) for pair in zip(before, after, strict=True) if pair[0].strip() or pair[1].strip()]
    return pairs if all(pair.search.strip() for pair in pairs) else None


def _parts(lines: list[str]) -> list[str]:
    parts: list[list[str]] = [[]]
    for line in lines:
        if line.strip() in DOTS:
            parts.append([])
        else:
            parts[-1].append(line)
    return ["\n".join(part) for part in parts]


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
    elided = any(line.strip() in DOTS for line in search)
    more = "\nSEARCH must quote every line; do not leave lines out with '...'." if elided else ""
    return f"block {number}: its SEARCH lines are not in the file.\nYou wrote:\n{said}{hint}{more}"
