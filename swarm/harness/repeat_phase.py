"""Phase 4, sandboxed: a part of what was asked once more, in a fresh process that sees nothing else.

SWARM_TRIAL=T/harness.json python -m swarm.harness.repeat_phase

It comes in another order and in batches of another size; of windows of text all that follows a secret place is other
text. A model answers as before; a program whose answers depend on the company that a row is in, on how many came before
it, on what follows in the text, or on chance does not (`score_phase` compares).
"""

import os
import sys
from pathlib import Path

from swarm.harness import config as configuration
from swarm.harness.predict_phase import predict
from swarm.harness.program import exit_code_of
from swarm.trial.asked import Harness
from swarm.trial.config import TrialConfig

BATCH: dict[Harness, int] = {"images": 83, "text": 19}


def run(path: Path | None = None) -> int:
    """Predicts again for the trial that `path` (or SWARM_TRIAL) describes; returns this process's exit code."""
    return exit_code_of(lambda: _repeat(configuration.load(path)))


def _repeat(config: TrialConfig) -> None:
    folder = config.folder
    shown = folder.repeat_images if config.harness == "images" else folder.repeat_windows
    predict(config, shown, folder.repeat_logits, BATCH[config.harness])


if __name__ == "__main__":
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # everything is on disk; tearing torch down would only take time
