"""Phase 2, trusted, numpy only: puts the evaluation images where `predict` finds them, in an order only we know.

First it looks whether the program is still the one that was committed: what predicts must be what trained.

SWARM_TRIAL=T/harness.json python -m swarm.harness.stage_phase
"""

import secrets
import sys
from pathlib import Path

import numpy as np

from swarm.harness import config as configuration
from swarm.harness.errors import InvalidOutput
from swarm.harness.layout import Layout
from swarm.harness.program import exit_code_of
from swarm.trial.config import TrialConfig
from swarm.trial.contract import program_sha256

REPEATED = 10  # one of so many images is shown again


def run(path: Path | None = None) -> int:
    return exit_code_of(lambda: stage(configuration.load(path)))


def stage(config: TrialConfig) -> None:
    """Writes predict_in/images.npy and private/order.npy: row i shown is row order[i] of the split. The same for a
    tenth of them, that only we know: repeat_in/images.npy and private/repeat.npy.

    Raises InvalidOutput when the program is not what was exported.
    """
    if config.program_sha256 is not None and program_sha256(config.folder.program) != config.program_sha256:
        raise InvalidOutput("the program changed itself while it trained")
    layout = Layout(config.data_dir)
    images = layout.read(layout.images(config.split))
    random = np.random.default_rng(secrets.randbits(128))
    order = random.permutation(len(images))
    again = random.permutation(len(images))[: max(1, len(images) // REPEATED)]
    config.folder.private.mkdir(mode=0o700, exist_ok=True)
    config.folder.predict_in.mkdir(exist_ok=True)
    np.save(config.folder.image_order, order)
    np.save(config.folder.images, images[order])
    config.folder.repeat_in.mkdir(exist_ok=True)
    np.save(config.folder.repeat_rows, again)
    np.save(config.folder.repeat_images, images[again])


if __name__ == "__main__":
    sys.exit(run())
