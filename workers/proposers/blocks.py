"""The edits in a model's answer, in whichever form it wrote them. Pure: text in, edits out.

    <<<<<<< SEARCH
    MAX_LR = 1e-2
    =======
    MAX_LR = 2e-2
    >>>>>>> REPLACE

is what is asked for. Read as well is what has the same meaning and no other: marks of other tools or of git, decorated,
shorter or with a wrong word at the end; hunks of a diff; a pair of tags or of labelled code blocks (`labelled`). What
has no end is not read: nobody knows where it would have been.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from workers.proposers.edits import Edit, EditFailed
from workers.proposers.forms import hunks, lines_of, plain_line, unescaped, unquoted
from workers.proposers.labelled import FENCE, fenced_blocks, in_labelled_fences, in_tags, unfenced

MAX_BLOCKS = 40
PYTHON = ("python", "python3", "py3")

_BEFORE = "SEARCH|ORIGINAL|OLD|BEFORE|FIND|HEAD"
_AFTER = "REPLACE|UPDATED|NEW|AFTER"
_NAMED = r"[>:.]?(?: [\w./\\~-]+| ?\d+)?(?: [<>=]{3,12})?"  # behind the word: the file's name, the number of a line
_PAGE = re.compile(r"^(?:</?[a-z]{1,9}>){1,4}|(?:</?[a-z]{1,9}>){1,4}$")
_OPEN = re.compile(rf"(?i)^(?:(<{{3,12}}|-{{5,12}}) ?(?:{_BEFORE})\b{_NAMED}|(<{{5,12}}))$")
_MIDDLE = re.compile(rf"(?i)^(={{3,12}})(?: ?(?:{_AFTER}|WITH))?$")
_CLOSE = re.compile(
    rf"(?i)^(?:(>{{3,12}}|\+{{5,12}}) ?(?:{_AFTER})\b{_NAMED}|(>{{5,12}})(?: ?[\w./\\~-]+)?|(<{{5,12}}) REPLACE)$"
)
_RULE = re.compile(r"^-{5,12}$")
_PLACE = re.compile(r"^:(?:start|end)_line: ?\d+$")
_DECORATION = re.compile(r"^[*`#/ ]*")
_PATH = re.compile(r"^[\w./\\~-]+\.\w{1,5}$|^[\w.~-]*[/\\][\w./\\~-]+$")


def parse_edits(answer: str, *files: str) -> list[Edit]:
    """The edits of an answer in their order; fences and prose around them are ignored. `files`: of the program.

    Raises EditFailed for a block that is not closed, that names a file of no program's, or for too many blocks.
    """
    lines = lines_of(unquoted(unescaped(answer)))
    text = "\n".join(lines)
    edits = _marked(lines, files) or _of_a_diff(text, files)
    edits = edits or [Edit(before, after) for before, after in in_tags(text) or in_labelled_fences(text)]
    if len(edits) > MAX_BLOCKS:
        raise EditFailed(f"{len(edits)} blocks; at most {MAX_BLOCKS} fit one change. Propose one change only.")
    return edits


def whole_file(answer: str, file: str) -> str | None:
    """The longest fenced block of code in an answer, which may be the whole new file; None if there is none.

    A fence inside the file (in a docstring) is passed over when the outer fence has more backticks. A fence of another
    language than the file's is not taken for it.
    """
    own, ending = PurePosixPath(file).name.lower(), PurePosixPath(file).suffix.removeprefix(".").lower()
    languages = {"", own, ending, *(PYTHON if ending == "py" else ())}
    blocks = [
        one.text
        for one in fenced_blocks(unescaped(answer))
        if one.language.split(":")[0] in languages or PurePosixPath(one.language).name == own
    ]
    text = max(blocks, key=len, default="")
    return text + "\n" if text.strip() else None


class _Mark(NamedTuple):
    """A line of marks: how many, and what stands before them."""

    width: int
    decoration: str


def _mark(line: str, pattern: re.Pattern[str]) -> _Mark | None:
    line = _PAGE.sub("", plain_line(line).strip())
    decoration = _DECORATION.match(line)
    assert decoration is not None
    found = pattern.match(line[decoration.end() :].rstrip("*`"))
    if not found:
        return None
    marks = next(filter(None, found.groups()))
    return _Mark(len(marks), decoration[0].strip())


def _marked(lines: Sequence[str], files: Sequence[str]) -> list[Edit]:
    """All blocks between marks."""
    edits: list[Edit] = []
    at = 0
    while at < len(lines):
        opened = _mark(lines[at], _OPEN)
        if opened:
            path = labelled_path([*lines[:at], lines[at].split()[-1]], files)
            end = next((i for i in range(at + 1, len(lines)) if _mark(lines[i], _OPEN)), len(lines))
            before, after, at = _halves(lines, at + 1, end, opened, len(edits) + 1)
            edits.append(Edit(*unfenced(before, after), path))
        at += 1
    return edits


def _halves(
    lines: Sequence[str], start: int, end: int, opened: _Mark, number: int
) -> tuple[Sequence[str], Sequence[str], int]:
    """What a block looks for and what comes in its place, and its last line. Raises EditFailed."""
    body = range(start, end)
    middles = [i for i in body if _fits(_mark(lines[i], _MIDDLE), opened)]
    closes = [i for i in body if _fits(_mark(lines[i], _CLOSE), opened)]
    middles = [i for i in middles if not closes or i < closes[-1]]
    if not middles and closes:
        rules = [i for i in body if _RULE.match(lines[i].strip()) and i < closes[0] and i > start]
        middles = rules if len(rules) == 1 else []
    if not middles:
        raise EditFailed(_incomplete("=======", number))
    exact = [i for i in middles if _width(lines[i]) == opened.width]
    middle = (exact or middles)[0]
    close = next((i for i in closes if i > middle), None)
    if close is None:
        close = _end_without_mark(lines, middle, end)
    elif sum(middle <= i < close for i in exact) > 1:
        raise EditFailed(f"block {number} has two lines '=======': quote lines above or below the one in the file.")
    if close is None:
        raise EditFailed(_incomplete(">>>>>>> REPLACE", number))
    while start < middle and _PLACE.match(lines[start].strip()):
        start += 1
        if _RULE.match(lines[start].strip()):
            start += 1
    return lines[start:middle], lines[middle + 1 : close], close


def _fits(mark: _Mark | None, opened: _Mark) -> bool:
    """Short marks, and marks behind a comment's sign, are also lines of programs: they have to be as the first one."""
    if mark is None:
        return False
    same = mark.decoration.strip("*`") == opened.decoration.strip("*`")
    return same and (mark.width >= 5 if opened.width >= 5 else mark.width == opened.width)


def _width(line: str) -> int:
    mark = _mark(line, _MIDDLE)
    return mark.width if mark else 0


def _end_without_mark(lines: Sequence[str], middle: int, end: int) -> int | None:
    """Where a block ends whose last mark is missing: at the word alone; at the end of the fence that it stands in; at a
    fence or a second line like that in the middle after which nothing comes."""
    within = sum(bool(FENCE.match(line)) for line in lines[:middle]) % 2 == 1
    last = max((i for i in range(middle, end) if lines[i].strip() and not FENCE.match(lines[i])), default=middle)
    for at in range(middle + 1, end):
        bare, fence = lines[at].strip(), FENCE.match(lines[at])
        fenced, again = bool(fence and bare == fence[1]), bare == lines[middle].strip()
        if bare == "REPLACE" or (fenced and within) or ((fenced or again) and at >= last):
            return at
    return None


def _of_a_diff(answer: str, files: Sequence[str]) -> list[Edit]:
    found = list(hunks(answer))
    if not found:
        fenced = (one.text for one in fenced_blocks(answer) if one.language in ("diff", "patch"))
        found = [hunk for text in fenced for hunk in hunks(f"@@\n{text}")]
    if found:
        labelled_path(re.findall(r"(?m)^(?:\+\+\+|\*\*\* (?:Update|Add) File:) +(?:b/)?(\S+)", answer)[-2:], files)
    return [Edit(before, after) for before, after in found]


def labelled_path(before: Sequence[str], files: Sequence[str]) -> str:
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


def _incomplete(what: str, number: int) -> str:
    return f"block {number} is not complete: its line {what!r} is missing. Send every block whole."
