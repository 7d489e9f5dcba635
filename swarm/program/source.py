"""The text of a program: what the gate reads, what a person sees and what Python runs are one thing.

A program is UTF-8 and nothing else. Python would also take another encoding from a comment, skip a byte-order mark, and
end a line at a form feed or a lone carriage return; a terminal turns text around at a direction mark and does not show
zero-width characters. With any of these one text would be read and another one run, so none of them is allowed.
"""

import ast
import re
import unicodedata
import warnings
from functools import lru_cache

from swarm.errors import TargetError
from swarm.program import several
from swarm.program.toml import settings_head

TREES = 32  # kept of the latest programs: a study asks the same few over and over
MAX_INT_BITS = 1024  # of a number written out; Python writes none of more than 4300 digits, a float holds none beyond

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # control, format and half characters, separators of lines
_COOKIE = re.compile(r"^[ \t]*#.*?coding[:=][ \t]*([-\w.]+)")  # PEP 263, in the first two lines


@lru_cache(maxsize=TREES)
def parse_module(source: str) -> ast.Module:
    """The syntax tree. Nobody may change it: whoever asks for the same text gets the same tree.

    Raises TargetError with line and reason for a text that hides something, and for anything that Python's parser or
    its compiler refuses: a `return` outside of a function is found here and not on the device.
    """
    _require_plain(source)
    tree = _parse_several(source) if several.is_several(source) else _parse(source, "train.py", 0)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value.bit_length() > MAX_INT_BITS:
            bits = node.value.bit_length()
            raise TargetError(f"line {node.lineno}: a whole number of {bits} bits; {MAX_INT_BITS} are allowed")
    return tree


def _parse(text: str, name: str, before: int) -> ast.Module:
    """`before`: how many lines of the program stand in front of this file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in a string is the program's business
            tree = ast.parse(text)
            compile(text, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        line = before + (error.lineno or 1)
        raise TargetError(f"line {line}: {error.msg}: {(error.text or '').strip()[:120]!r}") from error
    except (ValueError, RecursionError, MemoryError) as error:  # absurd nesting
        raise TargetError(f"Python cannot parse the program: {str(error) or type(error).__name__}") from error
    return tree


def _parse_several(source: str) -> ast.Module:
    """The statements of all its Python files in one module, at the lines where they stand in the one text; of a TOML
    file the settings at its head."""
    body: list[ast.stmt] = []
    for part in several.parts(source):
        text = part.text if part.is_python else settings_head(part.path, part.text) if part.is_toml else ""
        tree = _parse(text, part.path, part.line - 1)
        ast.increment_lineno(tree, part.line - 1)
        body += tree.body
    return ast.Module(body=body, type_ignores=[])


def _require_plain(source: str) -> None:
    """Raises TargetError with the line of the first character that hides something, or of another encoding."""
    if hidden := {char for char in set(source.replace("\r\n", "\n")) - {"\n", "\t"} if _is_hidden(char)}:
        at = next(place for place, char in enumerate(source) if char in hidden and source[place : place + 2] != "\r\n")
        name = unicodedata.name(source[at], "a control character")
        raise TargetError(
            f"line {source.count(chr(10), 0, at) + 1}: U+{ord(source[at]):04X} ({name}) is not seen as Python reads "
            "it: leave it out, or write its escape in a string"
        )
    for number, line in enumerate(source.split("\n", 2)[:2], start=1):
        cookie = _COOKIE.match(line)
        if cookie is not None and cookie[1].lower().replace("_", "-") not in ("utf-8", "utf8"):
            raise TargetError(f"line {number}: the encoding is {cookie[1]!r}: a program is UTF-8, leave the line out")


def _is_hidden(char: str) -> bool:
    return not char.isprintable() and unicodedata.category(char) in _HIDDEN
