"""Makes pages from templates, in plain Python: `Renderer(templates).page(name, data)`.

    {{ order.name }}   {{ order.cents | money }}   {{ note | short | upper }}   {{ html | raw }}
    {% for line in order.lines %} ... {% end %}
    {% if order.gift %} ... {% else %} ... {% end %}
    {# a comment #}

A value is escaped for HTML unless `raw` is among its filters; what is not there is an empty text. Inside a loop its
name stands for the item, and after it for what it stood for before. Templates are well-formed.
"""

import gc
import re
from functools import lru_cache

SCANNER = "characters"  # search: {"characters", "find", "regex"}
KEPT_TEMPLATES = 2  # search: int(1, 24)
PATHS = "text"  # search: {"text", "parsed"}
SCOPES = "copy"  # search: {"copy", "assign"}
ESCAPER = "characters"  # search: {"characters", "replace", "translate", "when_needed"}
KEPT_TEXTS = 0  # search: int(0, 1000)
JOIN_AT = 1  # search: int(1, 200)
COLLECT_AT = 400  # search: log(100, 100000)

CLOSING = {"{{": "}}", "{%": "%}", "{#": "#}"}
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}
TABLE = str.maketrans(ENTITIES)
MARKS = re.compile(r"\{\{(.*?)\}\}|\{%(.*?)%\}|\{#.*?#\}", re.DOTALL)
SPECIAL = re.compile("[&<>\"']")

gc.set_threshold(int(COLLECT_AT))


def by_characters(text):
    tokens, literal, place = [], "", 0
    while place < len(text):
        mark = text[place : place + 2]
        if mark not in CLOSING:
            literal += text[place]
            place += 1
            continue
        end = place + 2
        while text[end : end + 2] != CLOSING[mark]:
            end += 1
        tokens += [("text", literal), (mark, text[place + 2 : end].strip())]
        literal, place = "", end + 2
    return [*tokens, ("text", literal)]


def by_find(text):
    tokens, begin, place = [], 0, text.find("{")
    while place >= 0:
        mark = text[place : place + 2]
        if mark not in CLOSING:
            place = text.find("{", place + 1)
            continue
        end = text.find(CLOSING[mark], place + 2)
        tokens += [("text", text[begin:place]), (mark, text[place + 2 : end].strip())]
        begin = end + 2
        place = text.find("{", begin)
    return [*tokens, ("text", text[begin:])]


def by_regex(text):
    tokens, begin = [], 0
    for match in MARKS.finditer(text):
        tokens.append(("text", text[begin : match.start()]))
        value, tag = match.groups()
        if value is not None:
            tokens.append(("{{", value.strip()))
        elif tag is not None:
            tokens.append(("{%", tag.strip()))
        begin = match.end()
    return [*tokens, ("text", text[begin:])]


SCAN = {"characters": by_characters, "find": by_find, "regex": by_regex}[SCANNER]


def path_of(text):
    return text.split(".") if PATHS == "parsed" else text


def look_up(path, scope):
    value = scope
    for name in path if PATHS == "parsed" else path.split("."):
        if not isinstance(value, dict) or name not in value:
            return ""
        value = value[name]
    return value


def parse(text):
    """Nodes: (kind, what it needs), bodies inside."""
    nodes, _ = parse_from(SCAN(text), 0)
    return nodes


def parse_from(tokens, place):
    """Nodes up to an `end` or `else` that belongs to nobody here, and the place of it."""
    nodes = []
    while place < len(tokens):
        kind, content = tokens[place]
        words = content.split() if kind == "{%" else []
        if words and words[0] in ("end", "else"):
            break
        if kind == "text" and content:
            nodes.append(("text", content))
        elif kind == "{{":
            path, *filters = [part.strip() for part in content.split("|")]
            nodes.append(("value", path_of(path), filters))
        elif words and words[0] == "for":
            body, place = parse_from(tokens, place + 1)
            nodes.append(("for", words[1], path_of(words[3]), body))
        elif words and words[0] == "if":
            body, place = parse_from(tokens, place + 1)
            otherwise = []
            if tokens[place][1] == "else":
                otherwise, place = parse_from(tokens, place + 1)
            nodes.append(("if", path_of(words[1]), body, otherwise))
        place += 1
    return nodes, place


def money(value):
    sign, cents = ("-", -int(value)) if int(value) < 0 else ("", int(value))
    whole, digits = str(cents // 100), ""
    while len(whole) > 3:
        digits = "," + whole[-3:] + digits
        whole = whole[:-3]
    return sign + whole + digits + "." + str(cents % 100).rjust(2, "0")


def short(value):
    text = str(value)
    return text if len(text) <= 16 else text[:13] + "..."


FILTERS = {"upper": lambda value: str(value).upper(), "money": money, "short": short, "count": len}


def escape_characters(text):
    out = ""
    for character in text:
        out += ENTITIES.get(character, character)
    return out


def escape_replace(text):
    for character, entity in ENTITIES.items():
        text = text.replace(character, entity)
    return text


def escape_translate(text):
    return text.translate(TABLE)


def escape_when_needed(text):
    return text.translate(TABLE) if SPECIAL.search(text) else text


ESCAPE = {
    "characters": escape_characters,
    "replace": escape_replace,
    "translate": escape_translate,
    "when_needed": escape_when_needed,
}[ESCAPER]
if KEPT_TEXTS:
    ESCAPE = lru_cache(maxsize=KEPT_TEXTS)(ESCAPE)


class Page:
    """A text that grows. Pieces wait until there are JOIN_AT of them."""

    def __init__(self):
        self.text = ""
        self.waiting = []

    def add(self, piece):
        self.waiting.append(piece)
        if len(self.waiting) >= JOIN_AT:
            self.join()

    def join(self):
        self.text = self.text + "".join(self.waiting)
        self.waiting = []


class Renderer:
    def __init__(self, templates):
        self.templates = templates
        self.parsed = lru_cache(maxsize=KEPT_TEMPLATES)(self.parse_named)

    def parse_named(self, name):
        return parse(self.templates[name])

    def page(self, name, data):
        page = Page()
        self.render(self.parsed(name), dict(data), page)
        page.join()
        return page.text

    def render(self, nodes, scope, page):
        for node in nodes:
            kind = node[0]
            if kind == "text":
                page.add(node[1])
            if kind == "value":
                page.add(self.value(node, scope))
            if kind == "if":
                self.render(node[2] if look_up(node[1], scope) else node[3], scope, page)
            if kind == "for":
                self.loop(node, scope, page)

    def value(self, node, scope):
        value = look_up(node[1], scope)
        for name in node[2]:
            if name != "raw":
                value = FILTERS[name](value)
        return str(value) if "raw" in node[2] else ESCAPE(str(value))

    def loop(self, node, scope, page):
        name, items = node[1], look_up(node[2], scope) or []
        if SCOPES == "copy":
            for item in items:
                self.render(node[3], {**scope, name: item}, page)
            return
        had, before = name in scope, scope.get(name)
        for item in items:
            scope[name] = item
            self.render(node[3], scope, page)
        if had:
            scope[name] = before
        else:
            scope.pop(name, None)
