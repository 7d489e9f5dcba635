"""How far a mean is from the truth, as far as run-to-run noise goes. Pure.

Not promised: anything about how the program was chosen. An incumbent leads because its runs were good, so its own runs
flatter it; only runs on fresh seeds after the choice do not.
"""

import math

from swarm.verdict.evidence import NoiseFloor, student_tail

CONFIDENCE = 0.95
_LARGEST = 1e4
_HALVINGS = 60


def half_width(noise: NoiseFloor, *runs: int) -> float:
    """Of the 95 % interval of a mean over `runs`, or of the difference of two means over two numbers of runs:
    t * sigma * sqrt(sum of 1 / n), with Student's t for the degrees on which sigma rests."""
    return t_quantile(noise.degrees) * noise.sigma * math.sqrt(sum(1 / count for count in runs))


def t_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """The t that a two-sided interval of this confidence needs, by bisection of `student_tail`."""
    tail, low, high = (1 - confidence) / 2, 0.0, _LARGEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, degrees) > tail else (low, middle)
    return high
