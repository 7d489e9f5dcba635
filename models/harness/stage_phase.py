"""Phase 2, trusted, numpy only: puts the evaluation images where `predict` finds them, in an order only we know.

SWARM_TRIAL=T/harness.json python -m models.harness.stage_phase
"""

import secrets
import sys
from pathlib import Path

import numpy as np

from models.harness import config as configuration
from models.harness.config import TrialConfig
from models.harness.layout import Layout
from models.harness.program import exit_code_of


def run(path: Path | None = None) -> int:
    return exit_code_of(lambda: stage(configuration.load(path)))


def stage(config: TrialConfig) -> None:
    """Writes predict_in/images.npy and private/order.npy: row i shown is row order[i] of the split."""
    layout = Layout(config.data_dir)
    images = layout.read(layout.images(config.split))
    order = np.random.default_rng(secrets.randbits(128)).permutation(len(images))
    config.private.mkdir(mode=0o700, exist_ok=True)
    config.predict_in.mkdir(exist_ok=True)
    np.save(config.private / "order.npy", order)
    np.save(config.predict_in / "images.npy", images[order])


if __name__ == "__main__":
    sys.exit(run())
