"""The formulas behind a verdict. Every number is a cost: less is better.

Model: a run of program p has the cost mu_p + e with e ~ N(0, sigma^2), sigma common to all programs of a study. The
difference of two programs' means then has the standard error sigma * sqrt(1/n_challenger + 1/n_reference).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

FALSE_KEEPS = 0.05
HALF_SPENT = 20

_STANDARD = NormalDist()


@dataclass(frozen=True, slots=True)
class Normal:
    """A normal distribution of costs."""

    mean: float
    sd: float


PRIOR = Normal(mean=0.01, sd=0.03)
"""Before any run: a proposal is a little worse than its parent. Read from the published logs of such searches, where
four out of five proposals lose (references of the design); wide enough that two runs outweigh it."""


PLANNED_SIGMA = 0.012


def prior_for(sigma: float) -> Normal:
    """PRIOR, widened in proportion where runs scatter more than the 0.012 that it was made for.

    Effects are read on the scale of the noise: with PRIOR as it stands, a target whose runs differ by 0.1 could not
    show a gain of four sigma.
    """
    scale = max(1.0, sigma / PLANNED_SIGMA)
    return Normal(PRIOR.mean * scale, PRIOR.sd * scale)


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """Run-to-run standard deviation of equal programs, and how many independent differences it rests on."""

    sigma: float
    degrees: int


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Challenger minus reference, image by image over the same validation images, averaged over their runs."""

    mean: float
    standard_error: float
    images: int


def noise_floor(groups: Sequence[Sequence[float]]) -> float | None:
    """Pooled standard deviation over replicate groups, each the costs of one program; None without replicates.

    sqrt(sum of squared deviations from each group's own mean / sum of (n - 1)): the within-group mean square of a
    one-way analysis of variance. Groups of one say nothing and are skipped. Never pass the costs of different programs
    as a group, and never a choice of the best: that measures the search and not the noise.
    """
    measured = measure_noise(groups)
    return measured.sigma if measured is not None else None


def measure_noise(groups: Sequence[Sequence[float]]) -> NoiseFloor | None:
    """`noise_floor` together with its degrees of freedom."""
    degrees = sum(len(group) - 1 for group in groups if len(group) > 1)
    if degrees == 0:
        return None
    squares = sum((cost - fmean(group)) ** 2 for group in groups if len(group) > 1 for cost in group)
    return NoiseFloor(math.sqrt(squares / degrees), degrees)


def paired_difference(challenger: Sequence[Sequence[float]], reference: Sequence[Sequence[float]]) -> PairedDifference:
    """From per-image costs, one row a run, all rows over the same images in the same order.

    Raises ValueError when there is no run, or the rows differ in length or have fewer than two images.
    """
    rows = [*challenger, *reference]
    if not challenger or not reference or len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
        raise ValueError("paired costs need at least one run on each side, over the same two or more images")
    differences = [
        fmean(mine) - fmean(theirs)
        for mine, theirs in zip(zip(*challenger, strict=True), zip(*reference, strict=True), strict=True)
    ]
    mean = fmean(differences)
    variance = sum((value - mean) ** 2 for value in differences) / (len(differences) - 1)
    return PairedDifference(mean, math.sqrt(variance / len(differences)), len(differences))


def standard_error(
    sigma: float, challenger_runs: int, reference_runs: int, paired: PairedDifference | None = None
) -> float:
    """Of the difference of two means: the seeds' or the images', whichever is larger.

    Seeds measured on one fixed validation set already share its images, so pairing cannot make the seeds' part smaller.
    What it adds is the part that seeds cannot show: how much the difference would move on other images, and a program
    whose own runs are noisier than the pooled sigma. It can withhold a verdict and never make one. The two overlap
    (most seed noise is independent from image to image), so the larger is taken and not their sum.
    """
    seeds = sigma * math.sqrt(1 / challenger_runs + 1 / reference_runs)
    return max(seeds, paired.standard_error) if paired is not None else seeds


def probability_better(
    challenger_costs: Sequence[float],
    reference_costs: Sequence[float],
    sigma: float,
    prior: Normal = PRIOR,
    paired: PairedDifference | None = None,
) -> float:
    """Posterior probability that the challenger's true mean cost is lower than the reference's.

    With d the difference of the means, s its standard error and the prior N(m, t^2) on the true difference, the
    posterior is normal with precision 1/s^2 + 1/t^2 and mean (d/s^2 + m/t^2) / precision; the answer is its mass below
    zero (conjugate normal model with known variance: Gelman et al., Bayesian Data Analysis, 3rd ed., section 2.5).
    sigma is taken as known; the test that guards *confirmed* takes its uncertainty into account.
    """
    if not challenger_costs or not reference_costs:
        raise ValueError("a probability needs at least one cost on each side")
    difference = fmean(challenger_costs) - fmean(reference_costs)
    error = standard_error(sigma, len(challenger_costs), len(reference_costs), paired)
    if error == 0.0:
        return 1.0 if difference < 0 else 0.0
    precision = 1 / error**2 + 1 / prior.sd**2
    mean = (difference / error**2 + prior.mean / prior.sd**2) / precision
    return _STANDARD.cdf(-mean * math.sqrt(precision))


def p_value(
    challenger_costs: Sequence[float],
    reference_costs: Sequence[float],
    noise: NoiseFloor,
    paired: PairedDifference | None = None,
) -> float:
    """Chance of a difference this far below zero between equal programs: one-sided t test with the pooled sigma.

    A sigma from five runs is itself uncertain by a third, which is why this is Student's t and not the normal.
    """
    difference = fmean(challenger_costs) - fmean(reference_costs)
    error = standard_error(noise.sigma, len(challenger_costs), len(reference_costs), paired)
    if error == 0.0:
        return 0.0 if difference < 0 else 1.0
    return student_tail(-difference / error, noise.degrees)


def student_tail(t: float, degrees: int) -> float:
    """P(T > t) of Student's t distribution with a whole number of degrees of freedom.

    The finite sums of Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4. Exact but for
    rounding: tails below 1e-13 come out as zero or noise of that size.
    """
    angle = math.atan(t / math.sqrt(degrees))
    cosine, odd = math.cos(angle), degrees % 2
    term = cosine if odd else 1.0
    total = 0.0
    for power in range(1 + odd, degrees, 2):
        total += term
        term *= power / (power + 1) * cosine**2
    total *= math.sin(angle)
    inside = 2 / math.pi * (angle + total) if odd else total
    return (1 - inside) / 2


def confirmation_level(position: int, keeps: int = 0) -> float:
    """The p-value that the `position`-th program (from 1) that was run again must not exceed to be confirmed.

    The more programs are tried, the luckier the luckiest null looks, so a fixed error is spent over all of them:
    position k gets the share g_k = 20 / ((k + 19)(k + 20)), which sums to k / (k + 20) after k programs and to 1 for
    ever. `keeps` earlier confirmations multiply it by keeps + 1, which is the LOND rule (Javanmard and Montanari 2015;
    with tests that overlap in time: Zrnic, Ramdas and Jordan 2021): at most 5 % of the kept programs are false in
    expectation, and when nothing works, at most 5 % of the studies keep anything. LOND is proved for independent or
    positively dependent tests with one look each; that shared parents, repeated looks and the choice of what is run
    again do not spoil it is shown by simulation only.
    """
    share = HALF_SPENT / ((position + HALF_SPENT - 1) * (position + HALF_SPENT))
    return FALSE_KEEPS * share * (keeps + 1)
