"""Scores a running trial at its rungs: the logits lie with the candidate, the labels with a trusted process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from swarm.execution.harness import harness_root

SCORE_LIMIT_S = 30.0
_RUNG_FILE = re.compile(r"rung_(\d+)\.npy")


def score_new_rungs(folder: Path, seen: set[int]) -> list[tuple[float, float]]:
    """(progress, loss) of rungs that a training has reached since the last call; `seen` remembers them.

    A rung that cannot be scored (the candidate wrote rubbish, the scorer took too long) is passed over: the trial goes
    on, and its final score is what counts.
    """
    found: list[tuple[float, float]] = []
    for path in sorted((folder / "train_out").glob("rung_*.npy")):
        match = _RUNG_FILE.fullmatch(path.name)
        if match is None or int(match[1]) in seen:
            continue
        percent = int(match[1])
        seen.add(percent)
        if (loss := _score(folder, percent)) is not None:
            found.append((percent / 100, loss))
    return found


def _score(folder: Path, percent: int) -> float | None:
    command = [sys.executable, "-P", "-m", "swarm.harness.score_phase", "--rung", str(percent)]
    root = str(harness_root().parent.parent)
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": root,
        "SWARM_TRIAL": str(folder / "harness.json"),
        "OMP_NUM_THREADS": "1",
    }
    try:
        subprocess.run(
            command,
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SCORE_LIMIT_S,
            check=True,
        )
        loss = json.loads((folder / "private" / f"rung_{percent}.json").read_bytes()).get("loss")
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return float(loss) if isinstance(loss, int | float) else None
