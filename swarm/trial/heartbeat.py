"""What a trial's folder shows while it runs: its heartbeat and its output."""

import struct
from dataclasses import dataclass
from pathlib import Path

_HEARTBEAT = struct.Struct("<dQddd")  # monotonic s, step, progress, loss, budget used: swarm.harness.heartbeat


@dataclass(frozen=True)
class Progress:
    """One reading of a running trial's heartbeat."""

    step: int
    progress: float
    loss: float
    budget_used: float


def read_progress(folder: Path) -> Progress | None:
    """The last heartbeat of a running training, or None before its first step."""
    try:
        raw = (folder / "train_out" / "heartbeat").read_bytes()
        _, step, progress, loss, used = _HEARTBEAT.unpack(raw[: _HEARTBEAT.size])
    except (OSError, struct.error):
        return None
    return Progress(step, progress, loss, used)


def log_tail(folder: Path, phase: str, lines: int = 6, limit: int = 800) -> str:
    """The end of a phase's output, as one short text for a person or a record."""
    try:
        raw = (folder / "logs" / f"{phase}.log").read_bytes()[-8192:]
    except OSError:
        return ""
    text = raw.decode("utf-8", "replace").strip().splitlines()[-lines:]
    return "\n".join(text)[-limit:]
