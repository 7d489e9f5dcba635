"""Cores for a trial: as many as it was given, others than its neighbours have, and given back."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.supervisor.cores import Cores

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: there is nothing to share out")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)


def test_two_trials_have_different_cores_and_are_bound_to_them(tmp_path: Path) -> None:
    usable = os.sched_getaffinity(0)
    first = Cores.take(tmp_path, 1)
    assert first is not None and os.sched_getaffinity(0) == first.numbers and len(first.numbers) == 1
    os.sched_setaffinity(0, usable)
    second = Cores.take(tmp_path, 1)
    assert second is not None and not first.numbers & second.numbers
    first.close()
    os.sched_setaffinity(0, usable)
    third = Cores.take(tmp_path, 1)
    assert third is not None and third.numbers == first.numbers
    second.close()
    third.close()


def test_who_gets_all_of_them_is_bound_to_none(tmp_path: Path) -> None:
    usable = os.sched_getaffinity(0)
    assert Cores.take(tmp_path, len(usable)) is None
    assert os.sched_getaffinity(0) == usable
