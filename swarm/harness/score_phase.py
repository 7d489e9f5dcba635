"""Phase 5, trusted, numpy only: logits meet labels. The candidate's code has ended and its output is only data.

SWARM_TRIAL=T/harness.json python -m swarm.harness.score_phase            private/score.json, losses.npy
SWARM_TRIAL=T/harness.json python -m swarm.harness.score_phase --rung 25  private/rung_25.json
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swarm.harness import config as configuration
from swarm.harness.errors import DataMissing, InvalidOutput
from swarm.harness.layout import CLASSES, Layout
from swarm.harness.program import exit_code_of
from swarm.harness.scoring import probabilities, score
from swarm.trial.config import TrialConfig
from swarm.trial.contract import harness_sha256
from swarm.trial.files import Unreadable, read_plain, write_whole

TOLERANCE = {"cpu": (2e-4, 5e-3), "cuda": (1e-2, 5e-2)}
"""What rounding changes in a probability, and as a share of it: other batch sizes take other kernels, on a GPU in fewer
bits."""
DIFFERING_SHARE = 0.01
_HEADER_BYTES = 4096
_DTYPES = (np.dtype("<f4"), np.dtype("<f2"))


def run(path: Path | None = None, rung: int | None = None) -> int:
    """Scores the trial, or one rung of it; returns the exit code (13: the output cannot be scored)."""
    if rung is not None:
        return exit_code_of(lambda: score_rung(configuration.load(path), rung))
    return exit_code_of(lambda: score_trial(configuration.load(path)))


def score_trial(config: TrialConfig) -> None:
    """Writes private/score.json and private/losses.npy (float16, rows in the split's own order), and scores rungs."""
    layout = Layout(config.data_dir)
    labels = layout.read(layout.labels(config.split))
    order = _order(config.folder.image_order)
    if sorted(order.tolist()) != list(range(len(labels))):
        raise DataMissing(f"{config.folder.image_order} is not an order of {len(labels)} rows: stage the trial again")
    config.folder.private.mkdir(mode=0o700, exist_ok=True)
    try:
        shown = read_logits(config.folder.logits, len(labels))
    except InvalidOutput as error:
        write_whole(config.folder.score, json.dumps({"error": str(error), "harness_sha256": harness_sha256()}))
        raise
    logits = np.empty_like(shown)
    logits[order] = shown
    try:
        check_agreement(config, logits)
    except InvalidOutput as error:
        write_whole(config.folder.score, json.dumps({"error": str(error), "harness_sha256": harness_sha256()}))
        raise
    result = score(logits, labels)
    np.save(config.folder.losses, result.losses.clip(max=6e4).astype(np.float16))
    facts = {
        "validation_loss": round(result.validation_loss, 6),
        "top1": round(result.top1, 6),
        "top5": round(result.top5, 6),
        "calibrated_loss": round(result.calibrated_loss, 6),
        "rows": len(labels),
        "classes": CLASSES,
        "harness_sha256": harness_sha256(),
    }
    write_whole(config.folder.score, json.dumps(facts))
    for fraction in config.rungs:
        if (config.folder.taken_rung(round(100 * fraction))).exists():
            score_rung(config, round(100 * fraction))


def score_rung(config: TrialConfig, percent: int) -> None:
    """Writes private/rung_<percent>.json from what the training left at that rung. Raises InvalidOutput."""
    layout = Layout(config.data_dir)
    labels = layout.read(layout.labels("rung"))
    config.folder.private.mkdir(mode=0o700, exist_ok=True)
    target = config.folder.rung_score(percent)
    try:
        result = score(read_logits(config.folder.taken_rung(percent), len(labels)), labels)
    except InvalidOutput as error:
        write_whole(target, json.dumps({"progress": percent / 100, "error": str(error)}))
        return
    facts = {"progress": percent / 100, "loss": round(result.validation_loss, 6), "top1": round(result.top1, 6)}
    write_whole(target, json.dumps({**facts, "rows": len(labels)}))


def check_agreement(config: TrialConfig, logits: NDArray[np.float64]) -> None:
    """Raises InvalidOutput when too many of the images that were shown again got another answer: a prediction may
    depend on nothing but its image."""
    rows = _order(config.folder.repeat_rows)
    again = probabilities(read_logits(config.folder.repeat_logits, len(rows)))
    before, (least, share) = probabilities(logits[rows]), TOLERANCE[config.device]
    differs = (np.abs(again - before) > least + share * before).any(axis=1)
    if differs.mean() > DIFFERING_SHARE:
        raise InvalidOutput(
            f"{int(differs.sum())} of {len(rows)} images got another answer when they were shown again in other "
            "company: a prediction may depend on its image alone. Statistics of the batch, dropout that stays on, or a "
            "memory of earlier images do that"
        )


def read_logits(path: Path, rows: int) -> NDArray[np.float64]:
    """Reads what a candidate wrote: a plain file of bounded size, float32 or float16 [rows, CLASSES], all finite.

    Raises InvalidOutput naming the first thing that is wrong. Never unpickles, follows no link, opens no pipe.
    """
    try:
        content = read_plain(path, _HEADER_BYTES + rows * CLASSES * 4)
        logits = np.load(io.BytesIO(content), allow_pickle=False)
    except Unreadable as error:
        raise InvalidOutput(str(error)) from error
    except (ValueError, EOFError, OSError, MemoryError, SyntaxError) as error:
        raise InvalidOutput(f"{path.name} is not a plain array: {error}") from error
    if not isinstance(logits, np.ndarray) or logits.dtype not in _DTYPES:
        found = getattr(logits, "dtype", type(logits).__name__)
        raise InvalidOutput(f"{path.name} has type {found}, expected float32 or float16")
    if logits.shape != (rows, CLASSES):
        raise InvalidOutput(f"{path.name} has shape {logits.shape}, expected ({rows}, {CLASSES})")
    if not np.isfinite(logits).all():
        raise InvalidOutput(f"{path.name} has {int((~np.isfinite(logits)).sum())} values that are not finite")
    return logits.astype(np.float64)


def _order(path: Path) -> NDArray[np.int64]:
    try:
        order: NDArray[np.int64] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataMissing(f"{path}: {error}. The stage phase writes it.") from error
    return order


if __name__ == "__main__":
    sys.exit(run(rung=int(sys.argv[2]) if sys.argv[1:2] == ["--rung"] else None))
