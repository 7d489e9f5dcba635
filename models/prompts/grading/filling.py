"""The candidate's text: read as data, checked, and filled in for one message. Nothing in it is run or followed.

A field is one of a closed list and stands for itself alone: there is no attribute, no index, no format, no file and no
second pass, so that what a message says is never taken for a field.
"""

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from drawing import Item

MAX_TEXT = 4000  # characters of one text of the candidate
MAX_PROMPT = 6000  # characters of what one message costs at most, filled in: refused before the model is asked
MAX_EXAMPLES = 64
TAKES = ("whole", "first line", "last line")
_FIELD = re.compile(r"\{\s*([A-Za-z_0-9][\w .!:\[\]'\"()/*-]*?)\s*\}")
_COMMAND = re.compile(r"\{\{|\{%|\$\{|<%|<\?|\{#")
_MIMICRY = re.compile(r"\"metrics\"\s*:|'metrics'\s*:|^\s*METRIC\s+\w+\s*=|\"per_item\"\s*:", re.MULTILINE)
_ADDRESS = re.compile(r"(?i)\b(grader|grading|stand-?in|scorer|scored|answer key|hidden items?|SWARM_\w+|private/)")
_BETWEEN = re.compile(r"(?<=\d)[\s.,_-]{1,2}(?=\d)")
_KEYS = {
    *("INSTRUCTION", "TEMPLATE", "EXAMPLES", "TEMPERATURE", "REPLY_TOKENS", "TAKE"),
    *("system", "example", "templates", "instructions", "examples"),
}


class Refused(ValueError):
    """The candidate's text is not one that is asked with. The message says why."""


@dataclass(frozen=True)
class Prompt:
    system: str
    template: str
    temperature: float
    reply_tokens: int
    take: str

    def filled(self, item: Item) -> list[dict[str, str]]:
        """The messages of one request. Raises Refused above MAX_PROMPT."""
        user = _FIELD.sub(lambda field: item.text if field[1] == "item" else field[0], self.template)
        if (size := len(self.system) + len(user)) > MAX_PROMPT:
            raise Refused(f"a prompt of {size} characters; {MAX_PROMPT} are allowed")
        told = [{"role": "system", "content": self.system}] if self.system.strip() else []
        return [*told, {"role": "user", "content": user.strip()}]

    def answer_in(self, reply: str) -> str:
        """What counts as the answer: without blanks, quotes and a full stop around it, in small letters."""
        lines = [line for line in reply.strip().splitlines() if line.strip()] or [""]
        text = {"whole": reply, "first line": lines[0], "last line": lines[-1]}[self.take]
        return text.strip().strip("\"'`*.").strip().casefold()


def read(text: str, items: Sequence[Item]) -> Prompt:
    """Raises Refused with one sentence."""
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(f"it is no TOML: {str(error)[:120]}") from error
    if strange := sorted(table.keys() - _KEYS):
        raise Refused(f"{strange[0]!r:.60} is nothing that a prompt has; it has {', '.join(sorted(_KEYS))}")
    for piece in _texts(table):
        _require_plain(piece)
    _require_own(text, items)
    examples = _examples(table)
    instruction = _put(_chosen(table, "INSTRUCTION", "instructions"), {}).strip()
    shown = "".join(_put(_text(table, "example"), one) for one in examples)
    chosen = _chosen(table, "TEMPLATE", "templates")
    template = _put(chosen, {"instruction": instruction, "examples": shown}, keep="item")
    if _FIELD.findall(template).count("item") != 1:
        raise Refused("the template has to have {item} once: it leaves out the message, or repeats it")
    return Prompt(
        system=_put(_text(table, "system"), {"instruction": instruction}),
        template=template,
        temperature=_number(table, "TEMPERATURE", 0.0, 2.0),
        reply_tokens=int(_number(table, "REPLY_TOKENS", 1, 256)),
        take=_one_of(table, "TAKE", TAKES),
    )


def speaks_to_the_grader(prompt: Prompt) -> bool:
    """Whether it has words for whoever grades it: odd, and worth nothing."""
    return _ADDRESS.search(f"{prompt.system}\n{prompt.template}") is not None


def _examples(table: Mapping[str, object]) -> list[dict[str, str]]:
    listed = table.get("examples", [])
    if not isinstance(listed, list) or len(listed) > MAX_EXAMPLES:
        raise Refused(f"examples is no list of at most {MAX_EXAMPLES} tables")
    for one in listed:
        if not isinstance(one, dict) or set(one) != {"text", "answer"}:
            raise Refused("an example has a text and an answer")
        for name in one:
            _put(_text(one, name), {})
    return listed[: int(_number(table, "EXAMPLES", 0, MAX_EXAMPLES))]


def _put(text: str, values: Mapping[str, str], keep: str = "") -> str:
    """In one pass: what is put in has no fields, and `keep` stands for the message. Raises Refused for any other."""

    def value(field: re.Match[str]) -> str:
        if field[1] == keep:
            return "{" + keep + "}"
        if field[1] not in values:
            allowed = ", ".join("{" + name + "}" for name in (*values, keep) if name) or "none"
            raise Refused(f"{{{field[1]:.60}}} is no field here; fields are {allowed}")
        return values[field[1]]

    if found := _COMMAND.search(text):
        raise Refused(f"{found[0]!r} begins a command of a template language: there are fields and nothing else")
    return _FIELD.sub(value, text)


def _require_plain(text: str) -> None:
    """No characters that hide something, and none that look like a brace."""
    if len(text) > MAX_TEXT:
        raise Refused(f"a text of {len(text)} characters; {MAX_TEXT} are allowed")
    for char in text:
        if not char.isprintable() and char not in "\n\t":
            raise Refused(f"U+{ord(char):04X} is not seen as it is read: leave it out")
        if char not in "{}" and {"{", "}"} & set(unicodedata.normalize("NFKC", char)):
            raise Refused(f"U+{ord(char):04X} looks like a brace and is none")
    if _MIMICRY.search(text):
        raise Refused("it mimics the answer of a grader")


def _require_own(text: str, items: Sequence[Item]) -> None:
    """That it carries no hidden message. Each has a number of its own, drawn from 800,000; the words around it are a
    formula's, which anybody may know."""
    digits = _BETWEEN.sub("", unicodedata.normalize("NFKC", text))
    if any(item.number in digits for item in items):
        raise Refused("it carries one of the hidden messages")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _text(table: Mapping[str, object], name: str) -> str:
    value = table.get(name, "")
    if not isinstance(value, str):
        raise Refused(f"{name} is no text")
    return value


def _chosen(table: Mapping[str, object], setting: str, texts: str) -> str:
    """The text that a setting names."""
    known = table.get(texts, {})
    if not isinstance(known, dict):
        raise Refused(f"[{texts}] is no table of texts")
    return _text(known, _one_of(table, setting, tuple(known)))


def _one_of(table: Mapping[str, object], name: str, allowed: Sequence[str]) -> str:
    value = table.get(name)
    if not isinstance(value, str) or value not in allowed:
        raise Refused(f"{name} is {value!r:.60}; it is one of {', '.join(allowed) or 'none'}")
    return value


def _number(table: Mapping[str, object], name: str, low: float, high: float) -> float:
    value = table.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Refused(f"{name} is {value!r:.60}; it is a number from {low:g} to {high:g}")
    return value
