"""What the pages must be: a second renderer that shares no line with the first and cares for no second of time."""

import re

_PARTS = re.compile(r"(\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\})", re.DOTALL)


def expected(template, data):
    text, rest = _block(_PARTS.split(template), data)
    assert rest is None, "a template ends with its last block"
    return text


def _block(parts, scope):
    """The text up to an `end` or `else` of the block around it, and [that word, what follows it]; None at the end."""
    out = []
    while parts:
        part, parts = parts[0], parts[1:]
        inside = part[2:-2].split()
        if part.startswith("{{"):
            out.append(_value(part[2:-2], scope))
        elif part.startswith("{%") and inside[0] in ("end", "else"):
            return "".join(out), [inside[0], parts]
        elif part.startswith("{%") and inside[0] == "for":
            items, after = _get(inside[3], scope) or [], None
            for item in items:
                text, after = _block(parts, scope | {inside[1]: item})
                out.append(text)
            parts = (after or _block(parts, scope | {inside[1]: {}})[1])[1]
        elif part.startswith("{%"):
            holds = bool(_get(inside[1], scope))
            yes, after = _block(parts, scope)
            no = ""
            if after[0] == "else":
                no, after = _block(after[1], scope)
            out.append(yes if holds else no)
            parts = after[1]
        elif not part.startswith("{#"):
            out.append(part)
    return "".join(out), None


def _get(path, scope):
    for name in path.split("."):
        scope = scope.get(name, "") if isinstance(scope, dict) else ""
    return scope


def _value(inside, scope):
    path, *filters = (piece.strip() for piece in inside.split("|"))
    value = _get(path, scope)
    for name in filters:
        if name == "money":
            value = f"{'-' if value < 0 else ''}{abs(value) // 100:,}.{abs(value) % 100:02d}"
        elif name == "short":
            value = str(value) if len(str(value)) <= 16 else f"{str(value)[:13]}..."
        elif name == "upper":
            value = str(value).upper()
        elif name == "count":
            value = len(value)
    text = str(value)
    if "raw" in filters:
        return text
    return re.sub("[&<>\"']", lambda found: f"&{_NAMES[found[0]]};", text)


_NAMES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "#39"}
