"""Other forms in which models write an edit, read as if they were SEARCH/REPLACE blocks. Pure.

Only what has one meaning: characters that look like blanks, text whose escapes were kept, hunks of a diff, numbers
before each quoted line.
"""

import html
import re
from collections.abc import Collection, Iterator, Sequence

_BLANKS = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_NOTHING = re.compile("[\u200b\u2060\ufeff]")
_HUNK = re.compile(r"^\s{0,3}@@(?: .*)?$")
_END_OF_HUNK = re.compile(r"^\s{0,3}(`{3,}|~{3,}|\*\*\* |diff --git |--- |\+\+\+ |@@)")
_NUMBERED = re.compile(r"^\s{0,6}\d{1,5}\s?[:|]\s?|^\s{0,6}\d{1,5}\t")


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
        answer = answer.replace("\r", "\n")
    if "&lt;&lt;&lt;" in answer and "<<<<<" not in answer:
        answer = html.unescape(answer)
    if "\n" not in answer.strip() and "\\n" in answer and "<<<<<" in answer:
        answer = re.sub(r"\\(n|t|\"|\\)", lambda match: {"n": "\n", "t": "\t"}.get(match[1], match[1]), answer)
    return answer


def hunks(answer: str) -> Iterator[tuple[str, str]]:
    """(lines before, lines after) of each hunk of a unified diff or of a patch; the numbers behind @@ are not read."""
    lines = answer.split("\n")
    at = 0
    while at < len(lines):
        if not _HUNK.match(lines[at]):
            at += 1
            continue
        end = next((i for i in range(at + 1, len(lines)) if _END_OF_HUNK.match(lines[i])), len(lines))
        body = [line for line in lines[at + 1 : end] if not line.startswith("\\")]
        while body and not body[-1].strip():
            body.pop()
        if any(line[:1] in ("+", "-") for line in body):
            yield _side(body, "-"), _side(body, "+")
        at = end


def without_numbers(lines: Sequence[str]) -> list[str] | None:
    """The lines without the numbers that were quoted before each of them; None where not all have one."""
    filled = [line for line in lines if line.strip()]
    if not filled or not all(_NUMBERED.match(line) for line in filled):
        return None
    return [_NUMBERED.sub("", line, count=1) for line in lines]


def _side(body: Sequence[str], sign: str) -> str:
    return "\n".join(line[1:] for line in body if line[:1] in (sign, " ") or not line)
