"""What a model may ask for before it proposes: a look at another program's change, or that program to build on."""

import re
from dataclasses import dataclass

from swarm.records import Usage
from workers.proposers.blocks import parse_edits
from workers.proposers.edits import EditFailed
from workers.proposers.json_forms import json_edits, json_objects

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


@dataclass(frozen=True)
class Request:
    """One of both is a trial's id."""

    look: str | None = None
    build_on: str | None = None


class Asked(Exception):
    """In place of a proposal; `usage` is what the asking cost. Not a failure: the proposer is told, and asked again."""

    def __init__(self, request: Request, usage: Usage | None) -> None:
        super().__init__(f"look at {request.look}" if request.look else f"build on {request.build_on}")
        self.request = request
        self.usage = usage


def request_in(answer: str, editable: str) -> Request | None:
    """The request that an answer is, if it proposes nothing beside it."""
    try:
        if parse_edits(answer, editable) or json_edits(answer):
            return None
    except EditFailed:
        return None
    for item in json_objects(answer):
        for key in ("look", "build_on"):
            said = item.get(key)
            if isinstance(said, str) and _ID.fullmatch(said):
                return Request(**{key: said})
    return None
