"""A rerun beside its record."""

import pytest

from swarm.verdict.evidence import NoiseFloor
from swarm.verdict.rerun import finding

NOISE = NoiseFloor(sigma=0.01, degrees=10)


@pytest.mark.parametrize(
    ("again", "found"),
    [
        *((2.0, "identical"), (2.0000004, "identical"), (2.02, "within the noise"), (1.98, "within the noise")),
        *((2.1, "differs"), (1.9, "differs")),
    ],
)
def test_what_differs_is_compared_with_the_noise(again: float, found: str) -> None:
    assert finding(2.0, again, NOISE)[0] == found


def test_the_limit_is_one_honest_rerun_in_a_hundred() -> None:
    limit = 3.169 * 0.01 * 2**0.5  # the two-sided 1 % point of Student's t with 10 degrees of freedom
    assert finding(2.0, 2.0 + 0.99 * limit, NOISE)[0] == "within the noise"
    assert finding(2.0, 2.0 + 1.01 * limit, NOISE)[0] == "differs"


def test_without_a_noise_floor_only_the_same_digits_will_do() -> None:
    assert finding(2.0, 2.0, None)[0] == "identical"
    assert finding(2.0, 2.00001, None)[0] == "differs"
