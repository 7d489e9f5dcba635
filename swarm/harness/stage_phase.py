"""Phase 2, trusted, numpy only: puts the evaluation images where `predict` finds them, in an order only we know.

First it looks whether the program is still the one that was committed: what predicts must be what trained.

SWARM_TRIAL=T/harness.json python -m swarm.harness.stage_phase
"""

import hashlib
import os
import secrets
import stat
import sys
from pathlib import Path

import numpy as np

from swarm.harness import config as configuration
from swarm.harness.config import TrialConfig
from swarm.harness.errors import InvalidOutput
from swarm.harness.layout import Layout
from swarm.harness.program import exit_code_of

CODE_SUFFIXES = (".py", ".pyc", ".so")


def run(path: Path | None = None) -> int:
    return exit_code_of(lambda: stage(configuration.load(path)))


def stage(config: TrialConfig) -> None:
    """Writes predict_in/images.npy and private/order.npy: row i shown is row order[i] of the split.

    Raises InvalidOutput when the program is not what was exported.
    """
    if config.program_sha256 is not None and program_sha256(config.folder / "program") != config.program_sha256:
        raise InvalidOutput("the program changed itself while it trained")
    layout = Layout(config.data_dir)
    images = layout.read(layout.images(config.split))
    order = np.random.default_rng(secrets.randbits(128)).permutation(len(images))
    config.private.mkdir(mode=0o700, exist_ok=True)
    config.predict_in.mkdir(exist_ok=True)
    np.save(config.private / "order.npy", order)
    np.save(config.predict_in / "images.npy", images[order])


def program_sha256(folder: Path) -> str:
    """Hash over the code below a folder, names and contents: what Python could load from it.

    A cached `.pyc` counts: Python would prefer it to the source. Nothing but plain files is opened.
    """
    digest = hashlib.sha256()
    found = (Path(root) / name for root, _, names in os.walk(folder) for name in names)
    for path in sorted(path for path in found if path.suffix in CODE_SUFFIXES):
        digest.update(os.fsencode(path.relative_to(folder)) + b"\0")
        digest.update(_content_sha256(path))
    return digest.hexdigest()


def _content_sha256(path: Path) -> bytes:
    if not stat.S_ISREG(path.lstat().st_mode):
        return b"not a plain file"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


if __name__ == "__main__":
    sys.exit(run())
