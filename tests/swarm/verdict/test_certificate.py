"""What a certificate runs, in which order, and what it says of the runs."""

from statistics import fmean

import pytest

from swarm.verdict.certificate import CertificateBegun, CertificateRun, conclude, fresh_seeds, owed
from swarm.verdict.evidence import NoiseFloor

NOISE = NoiseFloor(0.01, 20)
BEGUN = CertificateBegun(
    at=0.0, study_id="s", number=1, baseline="t0001", programs=("t0007", "t0009"), seeds=(11, 12, 13)
)


def run(program: str, split: str, seed: int, value: float | None) -> CertificateRun:
    return CertificateRun.model_validate(
        {"at": 1.0, "study_id": "s", "number": 1, "program": program, "split": split, "seed": seed, "value": value}
    )


def test_the_test_split_comes_once_and_last_and_the_programs_are_interleaved() -> None:
    order = [(one.split, one.seed, one.program) for one in owed(BEGUN, [])]
    assert len(order) == len(set(order)) == 2 * 3 * 3
    assert [split for split, _, _ in order] == ["val"] * 9 + ["test"] * 9
    assert [name for _, seed, name in order[:6]] == ["t0001", "t0007", "t0009", "t0009", "t0007", "t0001"]


def test_what_was_run_is_not_run_again_also_where_it_failed() -> None:
    first, second, *_ = owed(BEGUN, [])
    made = [run(first.program, first.split, first.seed, 2.0), run(second.program, second.split, second.seed, None)]
    assert owed(BEGUN, made) == owed(BEGUN, [])[2:]


def test_seeds_are_fresh() -> None:
    first = fresh_seeds(3, 1, 5, used=())
    assert len(set(first)) == 5 and first == fresh_seeds(3, 1, 5, used=())
    assert not set(first) & set(fresh_seeds(3, 2, 5, used=()))
    taken = fresh_seeds(3, 1, 5, used={first[0], first[3]})
    assert not {first[0], first[3]} & set(taken) and len(set(taken)) == 5


def losses(program: str, split: str, values: list[float]) -> list[CertificateRun]:
    return [run(program, split, seed, value) for seed, value in zip(BEGUN.seeds, values, strict=True)]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_gains_stand_beside_each_other_with_what_was_lost(sign: float) -> None:
    made = [
        *losses("t0001", "val", [sign * value for value in (2.00, 2.01, 1.99)]),
        *losses("t0007", "val", [sign * value for value in (1.90, 1.91, 1.89)]),
        *losses("t0001", "test", [sign * value for value in (2.10, 2.11, 2.09)]),
        *losses("t0007", "test", [sign * value for value in (2.04, 2.05, 2.03)]),
    ]
    one, missing = conclude(BEGUN, made, NOISE, 9.0, maximized=sign < 0).programs
    assert one.validation is not None and one.test is not None and one.lost is not None
    assert (one.validation.gain, one.test.gain, one.lost) == pytest.approx((0.10, 0.06, 0.04))
    assert one.validation.low < 0.10 < one.validation.high and one.validation.runs == 3
    assert one.lost_low is not None and one.lost_high is not None
    wider = (one.lost_high - one.lost_low) / (one.validation.high - one.validation.low)
    assert 1.3 < wider < 1.6  # of two differences in place of one
    assert (missing.program, missing.validation, missing.lost) == ("t0009", None, None)


def test_a_failed_run_is_no_loss() -> None:
    made = [*losses("t0001", "val", [2.0, 2.0, 2.0]), run("t0007", "val", 11, 1.9), run("t0007", "val", 12, None)]
    validation = conclude(BEGUN, made, NOISE, 9.0).programs[0].validation
    assert validation is not None and (validation.runs, validation.baseline_runs) == (1, 3)


def by_item(program: str, split: str, rows: list[tuple[float, ...]]) -> list[CertificateRun]:
    return [
        run(program, split, seed, fmean(row)).model_copy(update={"items": row})
        for seed, row in zip(BEGUN.seeds, rows, strict=True)
    ]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_equal_runs_over_few_items_are_as_sure_as_the_items(sign: float) -> None:
    base = (sign * 2.0, sign * 2.2, sign * 1.8, sign * 2.4)
    better = (sign * 1.9, sign * 2.3, sign * 1.5, sign * 2.3)
    made = [*by_item("t0001", "val", [base] * 3), *by_item("t0007", "val", [better] * 3)]
    still = NoiseFloor(1e-9, 20)  # runs of one program are equal
    shown = conclude(BEGUN, made, still, 9.0, maximized=sign < 0).programs[0].validation
    assert shown is not None and shown.gain == pytest.approx(0.1)
    assert shown.low < 0 < shown.high, "four items cannot show a tenth among differences of two tenths"
    without = [line.model_copy(update={"items": ()}) for line in made]
    blind = conclude(BEGUN, without, still, 9.0, maximized=sign < 0).programs[0].validation
    assert blind is not None and blind.low > 0.0999
