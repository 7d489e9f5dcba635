"""Scores a running trial at its rungs: the logits lie with the candidate, the labels with a trusted process."""

import os
import subprocess
import sys

from swarm.trial.contract import CONFIG_VARIABLE, Phase, code_root
from swarm.trial.files import read_json
from swarm.trial.folder import TrialFolder

SCORE_LIMIT_S = 30.0


def score_new_rungs(folder: TrialFolder, seen: set[int]) -> list[tuple[float, float]]:
    """(progress, loss) of rungs that a training has reached since the last call; `seen` remembers them.

    A rung that cannot be scored (the candidate wrote rubbish, the scorer took too long) is passed over: the trial goes
    on, and its final score is what counts.
    """
    found: list[tuple[float, float]] = []
    for percent in folder.rungs_reached():
        if percent not in seen:
            seen.add(percent)
            if (loss := _score(folder, percent)) is not None:
                found.append((percent / 100, loss))
    return found


def _score(folder: TrialFolder, percent: int) -> float | None:
    command = [sys.executable, "-P", "-m", Phase.SCORE.module, "--rung", str(percent)]
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(code_root()),
        CONFIG_VARIABLE: str(folder.config),
        "OMP_NUM_THREADS": "1",
    }
    try:
        subprocess.run(
            command,
            cwd=code_root(),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SCORE_LIMIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    loss = (read_json(folder.rung_score(percent)) or {}).get("loss")
    return float(loss) if isinstance(loss, int | float) else None
