"""How many slots the finals take, and how they spend them. Pure numbers."""

from fractions import Fraction
from math import ceil
from statistics import NormalDist

from swarm.records import FinalsRound

SHARE = Fraction(1, 5)  # of the slots
FEWEST_SLOTS = 6  # one finalist and the baseline, three runs each
MOST_SLOTS = 40  # beyond them another idea is worth more than another seed
SLOTS_A_FINALIST = 6
FALSE_KEEPS = 0.05
BY_DEFAULT = 12  # of finals that a person asks for after a short study


def held(slots: int) -> int:
    """Of so many slots of a night, those that are held for its finals: a fifth, and none where that decides nothing."""
    share = min(MOST_SLOTS, int(SHARE * slots))
    return share if share >= FEWEST_SLOTS else 0


def after(trials: int) -> int:
    """Slots of finals that follow a search of so many trials, so that they are a fifth of all."""
    share = min(MOST_SLOTS, int(trials * SHARE / (1 - SHARE)))
    return share if share >= FEWEST_SLOTS else 0


def rounds(slots: int, contenders: int) -> tuple[FinalsRound, ...]:
    """The rounds of finals with so many slots; none where they are too few or nobody contends.

    In each round every program that is still in, and the baseline, runs equally often: a step or a drift of the machine
    between two rounds then meets both sides of every comparison alike. The first round has one run each. The last one
    is between the best finalist and the baseline and takes what is left: most runs of the winner then chose nobody, and
    its gain is hardly told too high.
    """
    finalists = min(contenders, slots // SLOTS_A_FINALIST)
    if finalists < 1:
        return ()
    if finalists == 1:
        return (FinalsRound(programs=1, runs=slots // 2),)
    left = slots - (finalists + 1)
    return (FinalsRound(programs=finalists, runs=1), FinalsRound(programs=1, runs=left // 2))


def runs(planned: tuple[FinalsRound, ...]) -> int:
    """Trials that the rounds take where none fails."""
    return sum((one.programs + 1) * one.runs for one in planned)


def level(finalists: int, number: int) -> float:
    """The p-value that one finalist of the finals with this number may not exceed.

    Bonferroni over the finalists. Each further finals of the same study has half the level of the one before, so that
    asking again and again keeps no more than 10 % falsehoods, and the first no more than 5 %.
    """
    return FALSE_KEEPS / (finalists * (1 << (number - 1)))


def runs_to_decide(difference: float, sigma: float, level_needed: float) -> int | None:
    """Runs on each side after which a gain of this size is proven in four of five finals; None for no gain.

    Two-sample size with known sigma: n = 2 (z_level + z_power)^2 sigma^2 / d^2.
    """
    if difference >= 0:
        return None
    reach = NormalDist().inv_cdf(1 - level_needed) + NormalDist().inv_cdf(0.8)
    return max(3, ceil(2 * (reach * sigma / difference) ** 2))
