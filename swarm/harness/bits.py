"""The score of a language model, in bits a byte, and whether it saw what it had to predict. Numpy only.

A candidate leaves logits for each place of each window, twice (see `stage_phase`): pass A with the windows as they are,
pass B, in a process of its own, with everything after a secret place replaced by other text and the rows in another
order. The softmax over all 256 bytes is taken here, so that no distribution can sum to more than one.

    whole windows of B      must agree with A: else a row depends on its company, on chance, or on a memory
    places before the cut   must agree with A: else they depend on what follows
    the last place before   decides: its target is in the input of A alone. A may be better there by rounding
    the cut                 and not by more, on average or in more than a few windows

An honest model has no difference but rounding. A dishonest one cannot know the places in A, so that what it gains by
looking ahead shows there in the same share; what remains below the limits is charged to its score.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from swarm.harness.answers import DIFFERING_SHARE, TOLERANCE, order_of, read_logits
from swarm.harness.errors import InvalidOutput
from swarm.harness.scoring import Floats, Score, calibrated_loss, cross_entropy, probabilities
from swarm.harness.text import VOCABULARY, WINDOW, TextLayout
from swarm.trial.config import Device, TrialConfig

BIT = math.log(2)
ROUNDING_BITS: dict[Device, float] = {"cpu": 1e-3, "cuda": 5e-3}
"""By which A may beat B at the last place before a cut, on average: what other kernels make of the same input."""
ROW_BITS: dict[Device, float] = {"cpu": 0.1, "cuda": 0.5}
"""The same in one window."""
ROUNDED_PLACES: dict[Device, float] = {"cpu": 0.0, "cuda": 0.05}
"""Share of a window's places that may change by more: a GPU that rounds to bfloat16 is at an edge now and then."""
MOST_ROWS = 2  # windows above ROW_BITS: an honest model may sit on an edge somewhere, such as a choice of experts
ERRORS = 3.0  # standard errors
_ROWS_AT_ONCE = 32
_CALIBRATED = 8  # of so many places one, for the temperature: all of them take seconds and say the same


@dataclass(frozen=True)
class Ahead:
    """What A knew more than B at the last place before each cut, in bits a byte, over `rows` windows."""

    mean: float
    error: float
    above: int
    rows: int


def score_text(config: TrialConfig) -> tuple[Score, int]:
    """The score in bits a byte with one loss a window, and the number of windows. Raises InvalidOutput."""
    layout, window = TextLayout(config.data_dir), WINDOW[config.device]
    targets = layout.read(layout.windows(config.split))[:, -window:]
    order = order_of(config.folder.image_order, len(targets))
    shown = read_logits(config.folder.logits, (len(targets), window, VOCABULARY))
    logits = np.empty_like(shown)
    logits[order] = shown
    ahead = _check(config, logits, targets)
    found = _score(logits, targets)
    if ahead.mean > ROUNDING_BITS[config.device]:
        found = replace(found, validation_loss=found.validation_loss + ahead.mean)
    return found, len(targets)


def _check(config: TrialConfig, logits: NDArray[np.floating], targets: NDArray[np.uint8]) -> Ahead:
    """Raises InvalidOutput unless pass B agrees with pass A."""
    rows, cuts = order_of(config.folder.repeat_rows), order_of(config.folder.cuts)
    again = read_logits(config.folder.repeat_logits, (len(rows), *logits.shape[1:]))
    differs = _differing(logits[rows], again, cuts, config.device)
    whole = cuts == logits.shape[1]
    company, text = int(differs[whole].sum()), int(differs[~whole].sum())
    ahead = _seen_ahead(logits[rows][~whole], again[~whole], targets[rows][~whole], cuts[~whole], config.device)
    seen = InvalidOutput(
        f"it sees later tokens: just before a secret place it is better by {ahead.mean:.4f} bits (standard error "
        f"{ahead.error:.4f}, {ahead.rows} windows) when the rest of the text is there than when it is other text. A "
        "prediction may depend on the bytes up to its place and on nothing after it"
    )
    if ahead.mean > max(ROUNDING_BITS[config.device], ERRORS * ahead.error):
        raise seen
    too_many = company + text > DIFFERING_SHARE * len(rows)
    if too_many and company > MOST_ROWS:
        raise InvalidOutput(
            f"{company} of {int(whole.sum())} windows got another answer when they were shown again in other company: "
            "a prediction may depend on its own window alone. Statistics of the batch, dropout that stays on, or a "
            "memory of earlier windows do that"
        )
    if ahead.above > MOST_ROWS:
        raise seen
    if too_many:
        raise InvalidOutput(
            f"it sees later tokens: {text} of {int((~whole).sum())} windows got other answers for their first bytes "
            "when the bytes after them were replaced. A prediction may depend on the bytes up to its place and on "
            "nothing after it"
        )
    return ahead


def _differing(
    first: NDArray[np.floating], again: NDArray[np.floating], cuts: NDArray[np.int64], device: Device
) -> NDArray[np.bool_]:
    """Of each row, whether probabilities before its cut changed by more than rounding does, at too many places."""
    least, share = TOLERANCE[device]
    found = np.zeros(len(first), np.bool_)
    before = np.arange(first.shape[1]) < cuts[:, None]
    for rows in _blocks(len(first)):
        was, now = (probabilities(part[rows][before[rows]].astype(np.float64)) for part in (first, again))
        places = (np.abs(now - was) > least + share * was).any(axis=1)
        found[rows] = (
            np.add.reduceat(places, np.concatenate([[0], np.cumsum(cuts[rows])[:-1]]))
            > ROUNDED_PLACES[device] * cuts[rows]
        )
    return found


def _seen_ahead(
    first: NDArray[np.floating],
    again: NDArray[np.floating],
    targets: NDArray[np.uint8],
    cuts: NDArray[np.int64],
    device: Device,
) -> Ahead:
    each = np.arange(len(cuts))
    nats = [cross_entropy(part[each, cuts - 1].astype(np.float64), targets[each, cuts - 1]) for part in (first, again)]
    gained = (nats[1] - nats[0]) / BIT
    error = float(gained.std(ddof=1)) / math.sqrt(len(gained))
    return Ahead(float(gained.mean()), error, int((gained > ROW_BITS[device]).sum()), len(gained))


def _score(logits: NDArray[np.floating], targets: NDArray[np.uint8]) -> Score:
    """In bits. `losses`: the mean of each window."""
    losses, top1, top5 = np.empty(len(logits)), 0, 0
    for rows in _blocks(len(logits)):
        flat, wanted = logits[rows].reshape(-1, VOCABULARY).astype(np.float64), targets[rows].reshape(-1)
        losses[rows] = cross_entropy(flat, wanted).reshape(-1, targets.shape[1]).mean(axis=1) / BIT
        others = (flat >= flat[np.arange(len(flat)), wanted][:, None]).sum(axis=1) - 1
        top1, top5 = top1 + int((others < 1).sum()), top5 + int((others < 5).sum())
    some: Floats = logits[:, ::_CALIBRATED].reshape(-1, VOCABULARY).astype(np.float64)
    wanted = targets[:, ::_CALIBRATED].reshape(-1)
    won = calibrated_loss(some, wanted) - float(cross_entropy(some, wanted).mean())
    mean = float(losses.mean())
    return Score(mean, top1 / targets.size, top5 / targets.size, mean + won / BIT, losses)


def _blocks(rows: int) -> list[slice]:
    return [slice(first, first + _ROWS_AT_ONCE) for first in range(0, rows, _ROWS_AT_ONCE)]
