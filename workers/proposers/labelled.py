"""Pairs of texts, what to look for and what to put there, between tags or in labelled code blocks. Pure."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from workers.proposers.forms import lines_of

FENCE = re.compile(r"^\s*+(`{3,}+|~{3,}+)\s*+([\w+:./-]*+)[^`]*$")

_KIND = r"(?:_?(?:str|string|text|code|lines?|block))?"
_OLD = rf"(?P<old>(?:search|find|original|before|old){_KIND})"
_NEW = rf"(?P<new>(?:replace|replacement|replace_with|updated|after|new){_KIND})"
_TAG = re.compile(rf'(?i)[<[](?P<end>/)?(?:parameter(?: name="|="?))?(?:{_OLD}|{_NEW})"?[]>]|</(?P<close>parameter)>')
_OF = r"(?: (?:this|these|the|it|block|code|lines?|text|version|existing|following|with|by|to))*"
_LABEL_OLD = re.compile(rf"^(?:search|find|original|old|before|current|currently|replace|change){_OF}$")
_LABEL_NEW = re.compile(rf"^(?:and )?(?:replace|replacement|updated|new|after|with|by|to|change|becomes){_OF}$")


class Fenced(NamedTuple):
    """A fenced block; `label` is the last line with words before it."""

    language: str
    text: str
    label: str


def fenced_blocks(answer: str) -> Iterator[Fenced]:
    """Each fenced block; a fence closes with at least as many backticks as it was opened with."""
    opened: tuple[str, str] | None = None
    block: list[str] = []
    label = ""
    for line in lines_of(answer):
        fence = FENCE.match(line)
        if opened is None:
            if fence:
                opened, block = (fence[1], fence[2].lower()), []
            elif line.strip():
                label = line
        elif fence and fence[1].startswith(opened[0]) and line.strip() == fence[1]:
            yield Fenced(opened[1], "\n".join(block), label)
            opened, label = None, ""
        else:
            block.append(line)


def in_tags(answer: str) -> list[tuple[str, str]]:
    """(old, new) of each pair of tags that stand beside each other; tags within another are its text."""
    pairs: list[tuple[str, str]] = []
    opened: re.Match[str] | None = None
    old: tuple[list[str], int] | None = None  # the text of the last one, and where it ended
    for tag in _TAG.finditer(answer):
        closes = tag["end"] or tag["close"]
        if opened is None:
            opened = None if closes else tag
        elif closes and (tag["close"] or _named(tag) == _named(opened)):
            text = _inner(answer[opened.end() : tag.start()])
            if opened["old"]:
                old = text, tag.end()
            elif old is not None and not answer[old[1] : opened.start()].strip():
                pairs.append(unfenced(old[0], text))
                old = None
            opened = None
    return pairs


def _named(tag: re.Match[str]) -> str:
    return (tag["old"] or tag["new"] or "").lower()


def in_labelled_fences(answer: str) -> list[tuple[str, str]]:
    """(old, new) of each block of code that is labelled as what stands there, and is followed by what shall.

    None where a block beside them is longer than all of them: that may be the file, and the pairs explain it.
    """
    pairs: list[tuple[str, str]] = []
    beside: list[str] = []
    old: str | None = None
    for one in fenced_blocks(answer):
        label = re.sub(r"[^a-z ]", "", one.label.lower()).strip()
        if old is not None and _LABEL_NEW.match(label):
            pairs.append((old, one.text))
            old = None
            continue
        old = one.text if _LABEL_OLD.match(label) else None
        if old is None and one.language != "json" and not one.text.lstrip().startswith("{"):
            beside.append(one.text)
    explained = max((text.count("\n") for text in beside), default=0)
    return pairs if explained <= sum(text.count("\n") + 1 for pair in pairs for text in pair) else []


def unfenced(old: Sequence[str], new: Sequence[str]) -> tuple[str, str]:
    """Both without the fences around them, where both have one; else it is of the file itself."""
    inner = _within_fence(old), _within_fence(new)
    old, new = (old, new) if inner[0] is None or inner[1] is None else (inner[0], inner[1])
    return "\n".join(old), "\n".join(new)


def _within_fence(lines: Sequence[str]) -> Sequence[str] | None:
    filled = [place for place, line in enumerate(lines) if line.strip()]
    if len(filled) < 2:
        return None
    first, last = FENCE.match(lines[filled[0]]), lines[filled[-1]].strip()
    return lines[filled[0] + 1 : filled[-1]] if first and first[1] == last else None


def _inner(text: str) -> list[str]:
    return text.removeprefix("\n").removesuffix("\n").split("\n")
