"""The audit: what a person has had checked beside a study. A file of its own, one JSON object a line.

No briefing, verdict or sampler reads it, so that who checks a result does not change the evidence by checking.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from swarm.errors import BrainError
from swarm.failpoints import failpoint
from swarm.records import one_line

Entry = TypeVar("Entry", bound=BaseModel)


def audit_of(brain: Path) -> Path:
    """Beside the brain: swarm_brain_audit.jsonl. No briefing and no verdict reads it."""
    return brain.with_name(f"{brain.stem}_audit.jsonl")


def append(path: Path, line: str) -> None:
    """On disk when this returns. What a crash left of an earlier line stays by itself."""
    failpoint("audit.before_append")
    with path.open("a+b") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else f"\n{line}"
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())
    failpoint("audit.after_append")


def lines(path: Path) -> Iterator[dict[str, object]]:
    """What is in it, oldest first, without lines that are torn; nothing where there is none."""
    return (fields for _, fields in _numbered(path))


def read(path: Path, model: type[Entry], kind: str, study_id: str) -> list[Entry]:
    """The lines of one kind and study, oldest first. Raises BrainError for one that nobody but a hand has written: what
    it says of how often somebody looked would be a guess."""
    found = []
    for number, fields in _numbered(path):
        if (fields.get("kind"), fields.get("study_id")) != (kind, study_id):
            continue
        try:
            found.append(model.model_validate(fields))
        except ValidationError as problem:
            first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
            where, said = ".".join(str(part) for part in first["loc"]), first["msg"]
            raise BrainError(
                f"{path}, line {number} is no {kind} line: {one_line(f'{where}: {said}', 200)}. It was changed "
                "by hand: put it back as it was, from git for one"
            ) from None
    return found


def _numbered(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    if not path.exists():
        return
    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(fields, dict):
            yield number, fields
