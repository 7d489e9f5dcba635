"""Means, differences and their uncertainty, for benchmarks that compare policies over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
SIGNIFICANT = 0.05

Results = Mapping[tuple[str, str, int], Mapping[int, float]]
"""By target, policy and seed: the loss of what was handed over, by the number of trials."""


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Bootstrap interval of the mean, 95 %."""
    return _quantiles(_resampled_means(np.random.default_rng(0), values))


def difference_interval(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Bootstrap interval of the mean difference, 95 %; paired: place by place the same seed."""
    return interval(np.subtract(ours, theirs).tolist())


def permutation_p(ours: Sequence[float], theirs: Sequence[float], *, two_sided: bool = False) -> float:
    """Chance of a mean difference as much in our favour (two-sided: as large) if each pair were labelled by lot."""
    differences = np.subtract(ours, theirs)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (RESAMPLES, len(differences)))
    drawn, seen = (signs * differences).mean(axis=1), differences.mean()
    as_extreme = np.abs(drawn) >= abs(seen) - 1e-12 if two_sided else drawn <= seen + 1e-12
    return float((1 + np.sum(as_extreme)) / (1 + RESAMPLES))


def print_policies(results: Mapping[str, Sequence[Sequence[float]]], checkpoints: Sequence[int]) -> None:
    """One line a policy: the mean of what it handed over at each checkpoint, with its interval."""
    print(f"{'policy':12}" + "".join(f"{f'loss after {trials} trials':>34}" for trials in checkpoints))
    for name, outcomes in results.items():
        cells = []
        for values in zip(*outcomes, strict=True):
            low, high = interval(values)
            cells.append(f"{fmean(values):.4f} [{low:.4f}, {high:.4f}]")
        print(f"{name:12}" + "".join(f"{cell:>34}" for cell in cells))


def print_differences(
    results: Mapping[str, Sequence[Sequence[float]]],
    checkpoints: Sequence[int],
    ours: str,
    others: Sequence[str],
    *,
    two_sided: bool = False,
) -> None:
    """One line a comparison and checkpoint, seed by seed, and in words what the interval says."""
    sides = "two-sided" if two_sided else "one-sided"
    print(f"\n{ours + ' minus':18}{'trials':>7}{'difference':>12}{'95 % interval':>22}{f'p, {sides}':>14}")
    for other in others:
        for column, trials in enumerate(checkpoints):
            mine, theirs = ([outcome[column] for outcome in results[name]] for name in (ours, other))
            low, high = difference_interval(mine, theirs)
            p = permutation_p(mine, theirs, two_sided=two_sided)
            bounds = f"[{low:+.4f}, {high:+.4f}]"
            numbers = f"{trials:>7}{fmean(mine) - fmean(theirs):>+12.4f}{bounds:>22}{p:>14.4f}"
            print(f"{other:18}{numbers}  {verdict_of(mine, theirs)}")


def verdict_of(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """In words; less is better. The interval of a few seeds is too narrow, so the permutations must agree with it."""
    low, high = difference_interval(ours, theirs)
    if low <= 0 <= high:
        return "not shown to differ: the interval holds 0"
    if permutation_p(ours, theirs, two_sided=True) >= SIGNIFICANT:
        return f"not shown to differ: too few seeds for p < {SIGNIFICANT:g}, two-sided"
    return "better" if high < 0 else "worse"


def comparisons(
    results: Results, targets: Iterable[str], pairs: Iterable[tuple[str, str]], trials: Sequence[int]
) -> list[dict[str, object]]:
    """One line for each target, pair of policies and number of trials of which at least two seeds have both."""
    pairs = list(pairs)
    lines: list[dict[str, object]] = []
    for target in targets:
        for policy, against in pairs:
            for count in trials:
                mine, theirs = _paired(results, target, policy, against, count)
                if len(mine) >= 2:
                    low, high = difference_interval(mine, theirs)
                    lines.append(
                        {
                            "target": target,
                            "policy": policy,
                            "against": against,
                            "trials": count,
                            "difference": round(fmean(mine) - fmean(theirs), 4),
                            "interval": [round(low, 4), round(high, 4)],
                            "p": round(permutation_p(mine, theirs), 4),
                            "n": len(mine),
                        }
                    )
    return lines


def _paired(results: Results, target: str, ours: str, theirs: str, trials: int) -> tuple[list[float], list[float]]:
    """Losses of both sides after so many trials, seed by seed, of the seeds that have both."""
    seeds = [seed for of, policy, seed in results if (of, policy) == (target, ours)]
    both = [(results[target, ours, seed], results.get((target, theirs, seed), {})) for seed in sorted(seeds)]
    known = [(mine[trials], other[trials]) for mine, other in both if trials in mine and trials in other]
    return [mine for mine, _ in known], [other for _, other in known]


def print_curves(results: Results, targets: Iterable[str], trials: Sequence[int]) -> None:
    """For each target the mean loss of each policy by trials, over its own seeds."""
    for target in targets:
        print(f"\n{target:14}{'seeds':>6}" + "".join(f"{count:>10}" for count in trials))
        for policy in dict.fromkeys(policy for of, policy, _ in results if of == target):
            curves = [curve for (of, named, _), curve in results.items() if (of, named) == (target, policy)]
            means = [[curve[count] for curve in curves if count in curve] for count in trials]
            print(f"{policy:14}{len(curves):>6}" + "".join(f"{fmean(of):>10.4f}" if of else " " * 10 for of in means))
    print()


def _resampled_means(rng: np.random.Generator, values: Sequence[float]) -> NDArray[np.float64]:
    return rng.choice(np.asarray(values), (RESAMPLES, len(values))).mean(axis=1)


def _quantiles(draws: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)
