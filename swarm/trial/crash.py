"""What the end of a candidate's output says of its crash: where in its own program, and what was raised. Pure."""

import re

_BEGIN = "Traceback (most recent call last):"
_FRAME = re.compile(r'^\s+File "(?P<path>[^"]+)", line (?P<line>\d+)(?:, in (?P<name>.+))?$')
_OTHERS = re.compile(r"site-packages|dist-packages|/lib/python\d|[/\\]swarm[/\\]|^<(?:frozen|string)")
MAX_FRAMES = 3
MAX_RAISED_LINES = 6
MAX_TEXT = 900


def crash_told(output: str) -> str | None:
    """The last frames of the program itself, innermost last, each with its line of code, and then what was raised; None
    where there is no traceback. Folders are left out of the paths."""
    _, begun, rest = output.rpartition(_BEGIN)
    if not begun:
        return None
    lines = rest.splitlines()
    frames, end = _frames(lines)
    raised = [line.rstrip() for line in lines[end:] if line.strip()][:MAX_RAISED_LINES]
    if not raised:
        return None
    return "\n".join([*frames[-MAX_FRAMES:], *raised])[:MAX_TEXT]


def last_words(output: str, lines: int = 6, limit: int = 800) -> str:
    """The end of an output, or what its traceback says, as one short text for a person or a record."""
    text = output.strip()
    if (told := crash_told(text)) is not None:
        return told
    return "\n".join(text.splitlines()[-lines:])[-limit:]


def _frames(lines: list[str]) -> tuple[list[str], int]:
    """Those of the program, and where what was raised begins: behind the last frame of anybody."""
    frames, end = [], 0
    for at, line in enumerate(lines):
        if (found := _FRAME.match(line)) is None:
            continue
        code = lines[at + 1].strip() if at + 1 < len(lines) and lines[at + 1].startswith("    ") else ""
        end = at + (2 if code else 1)
        while end < len(lines) and re.fullmatch(r"\s+[~^ ]+", lines[end]):
            end += 1
        if not _OTHERS.search(found["path"]):
            name = re.split(r"[/\\]", found["path"])[-1]
            frames.append(f"{name} line {found['line']} in {found['name'] or '?'}: {code}".rstrip(": "))
    return frames, end
