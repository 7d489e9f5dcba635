"""From logits to numbers, in float64, with numpy alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.integer]

LOG_TEMPERATURE_RANGE = (-3.0, 3.0)
_PRECISION = 1e-5  # of a temperature; the loss is flat there, and right to ten digits


@dataclass(frozen=True)
class Score:
    """`validation_loss` is plain cross-entropy in nats; `calibrated_loss` the same after fitting one temperature."""

    validation_loss: float
    top1: float
    top5: float
    calibrated_loss: float
    losses: Floats


def score(logits: Floats, labels: Labels) -> Score:
    """Logits float64 [n, classes] against labels [n], rows in the same order."""
    losses = cross_entropy(logits, labels)
    return Score(
        validation_loss=float(losses.mean()),
        top1=top_k(logits, labels, 1),
        top5=top_k(logits, labels, 5),
        calibrated_loss=calibrated_loss(logits, labels),
        losses=losses,
    )


def cross_entropy(logits: Floats, labels: Labels) -> Floats:
    """Per-example cross-entropy in nats: log of the sum of exponentials minus the logit of the label."""
    largest = logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(logits - largest).sum(axis=1)) + largest[:, 0]
    losses: Floats = total - logits[np.arange(len(labels)), labels]
    return losses


def probabilities(logits: Floats) -> Floats:
    """The softmax of each row."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def top_k(logits: Floats, labels: Labels, k: int) -> float:
    """Share of rows whose label is among the `k` largest logits. Ties count against: constant logits get nothing."""
    own = logits[np.arange(len(labels)), labels][:, None]
    others_not_below = (logits >= own).sum(axis=1) - 1
    return float((others_not_below < k).mean())


def calibrated_loss(logits: Floats, labels: Labels) -> float:
    """Cross-entropy after dividing by a temperature, fitted on one half and scored on the other, both ways.

    Says whether features improved or only confidence did (temperature scaling: arXiv 1706.04599).
    """
    if len(labels) < 2:
        return float(cross_entropy(logits, labels).mean())
    halves = slice(0, None, 2), slice(1, None, 2)
    losses = [
        cross_entropy(logits[there] / fit_temperature(logits[here], labels[here]), labels[there])
        for here, there in (halves, halves[::-1])
    ]
    return float(np.concatenate(losses).mean())


def fit_temperature(logits: Floats, labels: Labels, steps: int = 30) -> float:
    """The temperature of least cross-entropy within exp(LOG_TEMPERATURE_RANGE).

    The loss is convex in the inverse temperature: Newton's steps find its least value in about five, and where one
    leads out of what is left, the middle of that is taken.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    own = shifted[np.arange(len(labels)), labels]
    low, high = least, most = np.exp(np.negative(LOG_TEMPERATURE_RANGE[::-1])).tolist()
    scale = 1.0
    for _ in range(steps):
        powers = np.exp(shifted * scale)
        total = powers.sum(axis=1)
        powers *= shifted
        mean = powers.sum(axis=1) / total
        slope = float((mean - own).mean())
        low, high = (low, scale) if slope > 0 else (scale, high)
        with np.errstate(over="ignore", invalid="ignore"):  # of logits that no training makes
            curvature = float((np.einsum("ij,ij->i", powers, shifted) / total - mean**2).mean())
        if 0 < curvature < np.inf:
            following = min(max(scale - slope / curvature, least), most)
        else:
            following = least if slope > 0 else most if slope < 0 else scale
        if not low <= following <= high:
            following = (low * high) ** 0.5
        moved, scale = abs(following / scale - 1), following
        if moved < _PRECISION:
            break
    return 1 / scale
