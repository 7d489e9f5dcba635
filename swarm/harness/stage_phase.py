"""Phase 2, trusted, numpy only: puts what is asked where `predict` finds it, in an order only we know.

First it looks whether the program is still the one that was committed: what predicts must be what trained.

SWARM_TRIAL=T/harness.json python -m swarm.harness.stage_phase
"""

import secrets
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swarm.harness import config as configuration
from swarm.harness.errors import InvalidOutput
from swarm.harness.layout import Layout
from swarm.harness.program import exit_code_of
from swarm.harness.text import WINDOW, TextLayout
from swarm.trial.asked import ASKED
from swarm.trial.config import TrialConfig
from swarm.trial.contract import program_sha256

UNCUT = 8  # one of so many repeated windows of text stays as it is


def run(path: Path | None = None) -> int:
    return exit_code_of(lambda: stage(configuration.load(path)))


def stage(config: TrialConfig) -> None:
    """Writes predict_in/images.npy and private/order.npy: row i shown is row order[i] of the split. The same for a
    tenth of them, that only we know: repeat_in/images.npy and private/repeat.npy. Of text windows.npy, for half of
    them, and private/cuts.npy: repeated window i is as it was before place cuts[i], and other text from there on.

    Raises InvalidOutput when the program is not what was exported.
    """
    if config.program_sha256 is not None and program_sha256(config.folder.program) != config.program_sha256:
        raise InvalidOutput("the program changed itself while it trained")
    folder, random = config.folder, np.random.default_rng(secrets.randbits(128))
    for place in (folder.private, folder.predict_in, folder.repeat_in):
        place.mkdir(mode=0o700, exist_ok=True)
    text = config.harness == "text"
    rows = _windows(config) if text else _images(config)
    order, again = random.permutation(len(rows)), random.permutation(len(rows))
    again = again[: max(1, int(ASKED[config.harness].repeated_share * len(rows)))]
    np.save(folder.image_order, order)
    np.save(folder.repeat_rows, again)
    np.save(folder.windows if text else folder.images, rows[order])
    if not text:
        np.save(folder.repeat_images, rows[again])
        return
    cuts = cuts_for(len(again), rows.shape[1], random)
    np.save(folder.cuts, cuts)
    np.save(folder.repeat_windows, continued_otherwise(rows[again], cuts, _other_text(config), random))


def cuts_for(count: int, window: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Secret places, uniform over 1..window - 1. One in UNCUT windows stays whole (its cut is the window): what differs
    there was not the text."""
    cuts = random.integers(1, window, count)
    cuts[random.permutation(count)[: count // UNCUT]] = window
    return cuts


def continued_otherwise(
    windows: NDArray[np.uint8], cuts: NDArray[np.int64], text: NDArray[np.uint8], random: np.random.Generator
) -> NDArray[np.uint8]:
    """The windows with everything from their cut on replaced by a piece of `text`, which knows nothing of them."""
    length = windows.shape[1]
    starts = random.integers(0, len(text) - length, len(windows))
    others = text[starts[:, None] + np.arange(length)]
    return np.where(np.arange(length) < cuts[:, None], windows, others)


def _images(config: TrialConfig) -> NDArray[np.uint8]:
    layout = Layout(config.data_dir)
    return layout.read(layout.images(config.split))


def _windows(config: TrialConfig) -> NDArray[np.uint8]:
    """The windows without the byte that follows the last place."""
    layout = TextLayout(config.data_dir)
    return layout.read(layout.windows(config.split))[:, -1 - WINDOW[config.device] : -1]


def _other_text(config: TrialConfig) -> NDArray[np.uint8]:
    """The training text: as plausible as the windows, and it shares nothing with them."""
    layout = TextLayout(config.data_dir)
    return layout.read(layout.text)


if __name__ == "__main__":
    sys.exit(run())
