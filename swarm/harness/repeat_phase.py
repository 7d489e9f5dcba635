"""Phase 4, sandboxed: a tenth of the evaluation images once more, in a fresh process that sees no others.

SWARM_TRIAL=T/harness.json python -m swarm.harness.repeat_phase

They come in another order and in batches of another size. A model answers as before; a program whose answers depend on
the company that an image is in, on how many came before it, or on chance does not (`score_phase` compares).
"""

import os
import sys
from pathlib import Path

from swarm.harness import config as configuration
from swarm.harness.predict_phase import predict
from swarm.harness.program import exit_code_of
from swarm.trial.config import TrialConfig

BATCH = 83


def run(path: Path | None = None) -> int:
    """Predicts again for the trial that `path` (or SWARM_TRIAL) describes; returns this process's exit code."""
    return exit_code_of(lambda: _repeat(configuration.load(path)))


def _repeat(config: TrialConfig) -> None:
    predict(config, config.folder.repeat_images, config.folder.repeat_logits, BATCH)


if __name__ == "__main__":
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # everything is on disk; tearing torch down would only take time
