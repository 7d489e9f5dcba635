"""The formulas behind a verdict. Every number is a cost: less is better.

Model: a run of program p has the cost mu_p + e with e ~ N(0, sigma_p^2). Each program has its own sigma, shrunk towards
the pooled one of the study, since two or three runs say little of it. The difference of two programs' means then has
the standard error sqrt(sigma_c^2/n_c + sigma_r^2/n_r).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

MOST_DEGREES = 200  # beyond it a t distribution is the normal one for any use here
PRIOR_DEGREES = 6  # runs' worth of belief that a program's noise is the study's

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


def own_noise(costs: Sequence[float], pooled: NoiseFloor) -> NoiseFloor:
    """A program's own noise from its unselected runs: its variance shrunk towards the pooled one.

    (d0 s0^2 + sum of squares) / (d0 + n - 1) on d0 + n - 1 degrees of freedom, as in Smyth 2004, Statistical
    Applications in Genetics and Molecular Biology 3(1), with a fixed d0: a study has too few groups to estimate it.
    """
    prior = min(PRIOR_DEGREES, pooled.degrees)
    mean = fmean(costs) if costs else 0.0
    squares = prior * pooled.sigma**2 + sum((cost - mean) ** 2 for cost in costs)
    degrees = prior + max(0, len(costs) - 1)
    return NoiseFloor(math.sqrt(squares / degrees), degrees)


def standard_error(
    challenger_sigma: float,
    challenger_runs: int,
    reference_sigma: float,
    reference_runs: int,
    image_error: float | None = None,
) -> float:
    """Of the difference of two means: the seeds' or the images', whichever is larger.

    Seeds measured on one fixed validation set already share its images, so pairing cannot make the seeds' part smaller.
    What it adds is the part that seeds cannot show: how much the difference would move on other images. It can withhold
    a lead and never make one. The two overlap (most seed noise is independent from image to image), so the larger is
    taken and not their sum.
    """
    seeds = math.sqrt(challenger_sigma**2 / challenger_runs + reference_sigma**2 / reference_runs)
    return max(seeds, image_error) if image_error is not None else seeds


def posterior(difference: float, error: float, prior: Normal = PRIOR) -> Normal:
    """Of the true difference of two mean costs.

    With the prior N(m, t^2), the observed difference d and its standard error s, the posterior is normal with precision
    1/s^2 + 1/t^2 and mean (d/s^2 + m/t^2) / precision (conjugate normal model with known variance: Gelman et al.,
    Bayesian Data Analysis, 3rd ed., section 2.5). The sigmas are taken as known; the test of the finals is not so kind.
    """
    if error == 0.0:
        return Normal(difference, 0.0)
    precision = 1 / error**2 + 1 / prior.sd**2
    return Normal((difference / error**2 + prior.mean / prior.sd**2) / precision, 1 / math.sqrt(precision))


def mass_below_zero(belief: Normal) -> float:
    if belief.sd == 0.0:
        return 1.0 if belief.mean < 0 else 0.0
    return _STANDARD.cdf(-belief.mean / belief.sd)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two programs by their own runs. `p_value` is one-sided: the chance of a difference this low between equals."""

    difference: float
    degrees: int
    p_value: float
    low: float
    high: float


def welch(
    challenger: Sequence[float],
    reference: Sequence[float],
    noise: tuple[NoiseFloor, NoiseFloor],
    items: PairedDifference | None = None,
) -> Comparison:
    """Welch's test and 95 % interval of the difference of two means, with these variances; where the items scatter more
    than the runs do, with the paired items' standard error and theirs for degrees of freedom.

    Degrees of freedom by Welch and Satterthwaite, rounded down (Welch 1947, Biometrika 34, 28-35).
    """
    difference = fmean(challenger) - fmean(reference)
    mine, theirs = noise[0].sigma ** 2 / len(challenger), noise[1].sigma ** 2 / len(reference)
    error = math.sqrt(mine + theirs)
    if items is not None and items.standard_error > error:
        error, degrees = items.standard_error, min(items.images - 1, MOST_DEGREES)
    elif error == 0.0:
        return Comparison(difference, 1, 0.0 if difference < 0 else 1.0, difference, difference)
    else:
        degrees = max(1, int((mine + theirs) ** 2 / (mine**2 / noise[0].degrees + theirs**2 / noise[1].degrees)))
    reach = student_quantile(0.975, degrees) * error
    p_value = student_tail(-difference / error, degrees)
    return Comparison(difference, degrees, p_value, difference - reach, difference + reach)


def student_quantile(level: float, degrees: int) -> float:
    """The value below which Student's t falls with this probability (0.5 to 0.9999), by bisection."""
    low, high = 0.0, 1e5
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, degrees) > 1 - level else (low, middle)
    return high


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
