"""Phase 5, trusted, numpy only: logits meet labels. The candidate's code has ended and its output is only data.

SWARM_TRIAL=T/harness.json python -m swarm.harness.score_phase            private/score.json, losses.npy
SWARM_TRIAL=T/harness.json python -m swarm.harness.score_phase --rung 25  private/rung_25.json
"""

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swarm.harness import config as configuration
from swarm.harness.answers import DIFFERING_SHARE, TOLERANCE, order_of, read_logits
from swarm.harness.bits import BIT, score_text
from swarm.harness.errors import InvalidOutput
from swarm.harness.layout import CLASSES, Layout
from swarm.harness.program import exit_code_of
from swarm.harness.scoring import Score, probabilities, score
from swarm.harness.text import VOCABULARY, TextLayout
from swarm.trial.config import TrialConfig
from swarm.trial.contract import harness_sha256
from swarm.trial.files import write_whole


def run(path: Path | None = None, rung: int | None = None) -> int:
    """Scores the trial, or one rung of it; returns the exit code (13: the output cannot be scored)."""
    if rung is not None:
        return exit_code_of(lambda: score_rung(configuration.load(path), rung))
    return exit_code_of(lambda: score_trial(configuration.load(path)))


def score_trial(config: TrialConfig) -> None:
    """Writes private/score.json and private/losses.npy (float16, rows in the split's own order), and scores rungs."""
    config.folder.private.mkdir(mode=0o700, exist_ok=True)
    try:
        result, rows = _of_images(config) if config.harness == "images" else score_text(config)
    except InvalidOutput as error:
        write_whole(config.folder.score, json.dumps({"error": str(error), "harness_sha256": harness_sha256()}))
        raise
    np.save(config.folder.losses, result.losses.clip(max=6e4).astype(np.float16))
    facts = {
        "validation_loss": round(result.validation_loss, 6),
        "top1": round(result.top1, 6),
        "top5": round(result.top5, 6),
        "calibrated_loss": round(result.calibrated_loss, 6),
        "rows": rows,
        "classes": CLASSES if config.harness == "images" else VOCABULARY,
        "harness_sha256": harness_sha256(),
    }
    write_whole(config.folder.score, json.dumps(facts))
    for fraction in config.rungs:
        if (config.folder.taken_rung(round(100 * fraction))).exists():
            score_rung(config, round(100 * fraction))


def _of_images(config: TrialConfig) -> tuple[Score, int]:
    layout = Layout(config.data_dir)
    labels = layout.read(layout.labels(config.split))
    order = order_of(config.folder.image_order, len(labels))
    shown = read_logits(config.folder.logits, (len(labels), CLASSES)).astype(np.float64)
    logits = np.empty_like(shown)
    logits[order] = shown
    check_agreement(config, logits)
    return score(logits, labels), len(labels)


def score_rung(config: TrialConfig, percent: int) -> None:
    """Writes private/rung_<percent>.json from what the training left at that rung. Raises InvalidOutput."""
    text, layout = config.harness == "text", TextLayout(config.data_dir)
    labels = layout.read(layout.windows("rung") if text else layout.labels("rung"))
    classes, unit = (VOCABULARY, BIT) if text else (CLASSES, 1.0)
    config.folder.private.mkdir(mode=0o700, exist_ok=True)
    target = config.folder.rung_score(percent)
    try:
        logits = read_logits(config.folder.taken_rung(percent), (len(labels), classes))
        result = score(logits.astype(np.float64), labels)
    except InvalidOutput as error:
        write_whole(target, json.dumps({"progress": percent / 100, "error": str(error)}))
        return
    facts = {"progress": percent / 100, "loss": round(result.validation_loss / unit, 6), "top1": round(result.top1, 6)}
    write_whole(target, json.dumps({**facts, "rows": len(labels)}))


def check_agreement(config: TrialConfig, logits: NDArray[np.float64]) -> None:
    """Raises InvalidOutput when too many of the images that were shown again got another answer: a prediction may
    depend on nothing but its image."""
    rows = order_of(config.folder.repeat_rows)
    again = probabilities(read_logits(config.folder.repeat_logits, (len(rows), CLASSES)).astype(np.float64))
    before, (least, share) = probabilities(logits[rows]), TOLERANCE[config.device]
    differs = (np.abs(again - before) > least + share * before).any(axis=1)
    if differs.mean() > DIFFERING_SHARE:
        raise InvalidOutput(
            f"{int(differs.sum())} of {len(rows)} images got another answer when they were shown again in other "
            "company: a prediction may depend on its image alone. Statistics of the batch, dropout that stays on, or a "
            "memory of earlier images do that"
        )


if __name__ == "__main__":
    sys.exit(run(rung=int(sys.argv[2]) if sys.argv[1:2] == ["--rung"] else None))
