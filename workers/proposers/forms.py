"""Other forms in which models write an edit, read as if they were SEARCH/REPLACE blocks. Pure.

Only what has one meaning: characters that look like blanks, text whose escapes were kept, hunks of a diff, numbers
before each quoted line.
"""

import html
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

_BLANKS = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_NOTHING = re.compile("[\u200b\u2060\ufeff]")
_LINE_ENDS = re.compile("[\r\u0085\u2028\u2029]")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_QUOTES = str.maketrans("\u201c\u201d\u201e\u2018\u2019\u201a", "\"\"\"'''")
_NARROW = str.maketrans("\uff1c\uff1d\uff1e", "<=>")
_WIDE = re.compile(r"(?m)^[ \t]*[\uff1c\uff1d\uff1e]{3,9}.*$")
_QUOTED_MARK = re.compile(r"(?m)^ {0,3}> ?[<`~#*-]{3,}")
_HUNK = re.compile(r"^\s{0,3}@@(?: .*)?$")
_END_OF_HUNK = re.compile(r"^\s{0,3}(`{3,}|~{3,}|\*\*\* |diff --git |--- |\+\+\+ |@@)")
_NUMBERED = re.compile(r"^\s{0,6}\d{1,5}\s?[:|]\s?|^\s{0,6}\d{1,5}\t")


def lines_of(text: str) -> list[str]:
    """Split at line feeds only: form feeds and their like are part of a line, as for Python."""
    return text.replace("\r\n", "\n").split("\n")


def straight(text: str) -> str:
    """With the quotes that Python knows in place of a typesetter's."""
    return text.translate(_QUOTES)


def plain_line(line: str) -> str:
    """With the blanks and without the invisible marks that Python does not take."""
    return _NOTHING.sub("", _BLANKS.sub(" ", line))


def plain_lines(lines: Sequence[str], kept: Collection[str]) -> list[str]:
    """Each line so, but for those that stand in the program as they are."""
    return [line if line in kept else plain_line(line) for line in lines]


def unescaped(answer: str) -> str:
    """Line ends as ours; escapes that a server or a page left in the text undone, where it is of no use with them."""
    answer = answer.replace("\r\n", "\n")
    if "\n" not in answer:
        answer = _LINE_ENDS.sub("\n", answer)
    answer = _COLOURS.sub("", answer)
    answer = _WIDE.sub(lambda line: line[0].translate(_NARROW), answer)
    if "&lt;&lt;&lt;" in answer and "<<<<<" not in answer:
        answer = html.unescape(answer)
    if "\n" not in answer.strip() and "\\n" in answer and "<<<<<" in answer:
        answer = re.sub(r"\\(n|t|\"|\\)", lambda match: {"n": "\n", "t": "\t"}.get(match[1], match[1]), answer)
    return answer


def unquoted(answer: str) -> str:
    """Without the sign of a quotation before each line, where marks stand behind it and nowhere else."""
    if not _QUOTED_MARK.search(answer) or re.search(r"(?m)^[ \t]*(?:<{3}|@@)", answer):
        return answer
    return re.sub(r"(?m)^ {0,3}> ?", "", answer)


def hunks(answer: str) -> Iterator[tuple[str, str]]:
    """(lines before, lines after) of each hunk of a unified diff or of a patch; the numbers behind @@ are not read."""
    lines = answer.split("\n")
    at = 0
    while at < len(lines):
        header = lines[at].startswith("+++ ") and not any(map(_HUNK.match, lines[at + 1 : at + 2]))
        if not (header or _HUNK.match(lines[at])):
            at += 1
            continue
        end = next((i for i in range(at + 1, len(lines)) if _END_OF_HUNK.match(lines[i])), len(lines))
        body = [line for line in lines[at + 1 : end] if not line.startswith("\\")]
        while body and not body[-1].strip():
            body.pop()
        if any(line[:1] in ("+", "-") for line in body):
            yield from ((_side(part, "-"), _side(part, "+")) for part in _parts(body))
        at = end


def _parts(body: Sequence[str]) -> list[list[str]]:
    """One for each group of changes: what is taken away right behind what was added stands somewhere else."""
    parts: list[list[str]] = [[]]
    for before, line in pairwise(["", *body]):
        whole = any(other[:1] == "-" for other in parts[-1])  # some write what is added first
        if whole and before[:1] == "+" and line[:1] == "-":
            parts.append([])
        parts[-1].append(line)
    return parts


def without_numbers(lines: Sequence[str]) -> list[str] | None:
    """The lines without the numbers that were quoted before each of them; None where not all have one."""
    filled = [line for line in lines if line.strip()]
    if not filled or not all(_NUMBERED.match(line) for line in filled):
        return None
    return [_NUMBERED.sub("", line, count=1) for line in lines]


def _side(body: Sequence[str], sign: str) -> str:
    return "\n".join(line[1:] for line in body if line[:1] in (sign, " ") or not line)
