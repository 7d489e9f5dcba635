"""Keys that a grader was given, taken out of what it prints.

Not promised: more than the usual spellings. A grader is trusted; this is for the error text of a server that repeats
the key which it was sent.
"""

import json
import urllib.parse
from collections.abc import Iterator, Mapping

from swarm.trial.contract import is_secret

MARK = "[redacted]"
SHORTEST = 6  # a shorter value is no secret, and would be found in every other word


def hide(text: str, names: tuple[str, ...], environment: Mapping[str, str]) -> str:
    """The text without the values of those variables whose names say that they are secret."""
    values = [environment[name] for name in names if is_secret(name) and name in environment]
    spelled = sorted({form for value in values if len(value) >= SHORTEST for form in _spellings(value)}, key=len)
    for form in reversed(spelled):
        text = text.replace(form, MARK)
    return text


def _spellings(value: str) -> Iterator[str]:
    yield value
    yield json.dumps(value)[1:-1]
    yield urllib.parse.quote(value, safe="")
    yield value.encode().hex()
