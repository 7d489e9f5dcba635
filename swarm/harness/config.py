"""The trial that this process belongs to: `harness.json`, found by the environment."""

import os
from pathlib import Path

from swarm.harness.errors import HarnessError
from swarm.trial.config import TrialConfig
from swarm.trial.contract import CONFIG_VARIABLE


def load(path: Path | None = None) -> TrialConfig:
    """Reads `path`, or the file that SWARM_TRIAL names. Raises HarnessError naming what is wrong with it."""
    if path is None:
        named = os.environ.get(CONFIG_VARIABLE)
        if not named:
            raise HarnessError(
                f"{CONFIG_VARIABLE} is not set: there is no trial to run. "
                "Run one by hand with `python -m swarm.harness.run models/resnext`."
            )
        path = Path(named)
    try:
        return TrialConfig.from_json(path.read_text())
    except (OSError, ValueError) as error:
        raise HarnessError(f"{path} is not a trial's harness.json: {error}") from error
