"""TOML files of a program, for programs that are text and run nothing: a prompt, a template, a table of settings.

    TEMPERATURE = 0.7  # search: linear(0, 1.5)
    ORDER = "item last"  # search: {"item first", "item last"}

    [wordings]
    short = "Answer with one word."

The lines of the form `NAME = literal` at the head of such a file, before its first table or longer value, are constants
as those at the top of a Python file are: numbers and texts in double quotes are written alike in both languages. TOML's
`true` and `false` are no values of Python: a search takes a choice of two texts. Pure.
"""

import re
import tomllib
from typing import Any

from swarm.errors import TargetError

_SETTING = re.compile(r'[A-Z][A-Z0-9_]*[ \t]*=[ \t]*(?:[-+0-9.eE_]+|"(?:[^"\\]|\\.)*")[ \t]*(?:#.*)?')


def settings_head(path: str, text: str) -> str:
    """The lines at the head that Python reads as TOML does: settings, comments and blank ones. The rest is cut off.

    Raises TargetError for a text that is no TOML.
    """
    read_toml(path, text)
    kept = []
    for line in text.split("\n"):
        if line.strip() and not line.lstrip().startswith("#") and not _SETTING.fullmatch(line):
            break
        kept.append(line)
    return "\n".join(kept)


def read_toml(path: str, text: str) -> dict[str, Any]:
    """Raises TargetError."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise TargetError(f"{path} is no TOML: {str(error)[:200]}") from error
