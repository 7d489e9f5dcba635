"""JSON that a server, a model or an agent wrote, read so that nothing after it has to fear its shape."""

import json

MAX_DEPTH = 60  # of lists and objects in each other: whoever walks, prints or copies the value may recurse


def read_foreign_json(text: str) -> object:
    """Raises ValueError for what is no JSON, is nested too deeply, or has a number that Python refuses to read."""
    try:
        value: object = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    require_shallow(value)
    return value


def require_shallow(value: object) -> None:
    """Raises ValueError for lists and objects that are nested more than MAX_DEPTH deep."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for outer in level for item in _items(outer)]
        if not level:
            return
    raise ValueError(f"nested more than {MAX_DEPTH} deep")


def _items(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
