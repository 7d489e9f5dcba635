"""The audit: what a person has had checked beside a study. A file of its own, one JSON object a line.

No briefing, verdict or sampler reads it, so that who checks a result does not change the evidence by checking.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from swarm.failpoints import failpoint


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
    if not path.exists():
        return
    for text in path.read_bytes().splitlines():
        try:
            fields = json.loads(text)
        except ValueError:
            continue
        if isinstance(fields, dict):
            yield fields
