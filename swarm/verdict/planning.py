"""What can a night of so many slots find, with a study's own noise? By simulation; pure."""

from collections.abc import Sequence
from statistics import NormalDist

from pydantic import BaseModel, ConfigDict

from swarm.study.state import StudyState
from swarm.verdict import plan
from swarm.verdict.decisions import study_noise
from swarm.verdict.nights import SLOTS
from swarm.verdict.simulation import Night, Terms

GAINS = (1.0, 1.5, 2.0, 3.0, 4.0)
FEWEST_SLOTS, MOST_SLOTS = 10, 1000
_Z = NormalDist().inv_cdf(0.975)


class Chance(BaseModel):
    """A share of the simulated nights, with its 95 % interval."""

    model_config = ConfigDict(frozen=True)

    share: float
    low: float
    high: float


class Found(BaseModel):
    """`gain` is in sigma, `size` in the objective's unit. `told_minus_true`: of the gain that is shown for what is
    kept, in sigma; None where nothing was kept."""

    model_config = ConfigDict(frozen=True)

    gain: float
    size: float
    found: Chance
    told_minus_true: float | None


class Planned(BaseModel):
    """What nights like this find. `held`: slots of the finals. `false_nights`: no change helps, something is kept."""

    model_config = ConfigDict(frozen=True)

    schema_version: int = 1
    study_id: str
    slots: int
    held: int
    workers: int
    nights: int
    sigma: float
    degrees: int
    false_nights: Chance
    gains: tuple[Found, ...]


def terms_of(study: StudyState, slots: int | None) -> Terms | None:
    """A night of this study: with its noise, its workers, its noise floor; `slots`: as many as it has, 100 without a
    limit. None before the noise floor is measured."""
    noise = study_noise(study)
    if noise is None or noise.sigma <= 0.0:
        return None
    wanted = slots if slots is not None else study.limits.trials or SLOTS
    return Terms(wanted, noise.sigma, study.opened.workers, study.opened.noise_replicates)


def planned(study: StudyState, terms: Terms, nulls: Sequence[Night], planted: dict[float, Sequence[Night]]) -> Planned:
    """`planted`: nights by their gain in sigma."""
    noise = study_noise(study)
    assert noise is not None  # terms_of asked for it
    return Planned(
        study_id=study.study_id,
        slots=terms.slots,
        held=plan.held(terms.slots),
        workers=terms.workers,
        nights=len(nulls),
        sigma=terms.sigma,
        degrees=noise.degrees,
        false_nights=chance(sum(one.kept for one in nulls), len(nulls)),
        gains=tuple(_found(gain, terms.sigma, nights) for gain, nights in planted.items()),
    )


def chance(hits: int, count: int) -> Chance:
    """With the score interval of Wilson (1927)."""
    share, square = hits / count, _Z**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    reach = _Z * (share * (1 - share) / count + square / (4 * count**2)) ** 0.5 / (1 + square / count)
    return Chance(share=share, low=max(0.0, middle - reach), high=min(1.0, middle + reach))


def _found(gain: float, sigma: float, nights: Sequence[Night]) -> Found:
    apart = [one.shown_gain - one.true_gain for one in nights if one.kept and one.shown_gain is not None]
    return Found(
        gain=gain,
        size=gain * sigma,
        found=chance(sum(one.found for one in nights), len(nights)),
        told_minus_true=sum(apart) / len(apart) if apart else None,
    )
