"""Observed peaks of this machine, one JSON object a line, shared by every study that runs here."""

import json
import os
from dataclasses import asdict, fields
from pathlib import Path

from swarm.admission.policy.predict import History, PeakRecord
from swarm.failpoints import failpoint

TAIL_BYTES = 1 << 20


def load_history(path: Path) -> History:
    """The last few thousand records. A damaged line is skipped: it is an estimate that is lost, not a result."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return History()
    return History.of(record for line in lines if (record := _parse(line)) is not None)


def append_history(path: Path, record: PeakRecord) -> None:
    """One `write` under the ledger's lock; a line torn by a crash is ended first."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        line = json.dumps(asdict(record)).encode() + b"\n"
        failpoint("history.before_write")
        os.write(descriptor, b"\n" + line if torn else line)
        failpoint("history.after_write")
    finally:
        os.close(descriptor)


def _parse(line: bytes) -> PeakRecord | None:
    try:
        loaded = json.loads(line)
        return PeakRecord(**{field.name: loaded[field.name] for field in fields(PeakRecord) if field.name in loaded})
    except (ValueError, KeyError, TypeError):
        return None
