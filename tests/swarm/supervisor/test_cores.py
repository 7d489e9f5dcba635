"""Cores for a trial: as many as it was given, others than its neighbours have, and given back."""

import os
from pathlib import Path

import pytest
from fakes.trial_programs import Programs

from swarm.supervisor.cores import Cores

pytestmark = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="one core: that trials get different ones is not verified"
)


def test_two_trials_have_different_cores(tmp_path: Path) -> None:
    first = Cores.take(tmp_path, 1)
    assert first is not None and len(first.numbers) == 1
    second = Cores.take(tmp_path, 1)
    assert second is not None and not first.numbers & second.numbers
    first.close()
    third = Cores.take(tmp_path, 1)
    assert third is not None and third.numbers == first.numbers
    second.close()
    third.close()


def test_who_gets_all_of_them_is_bound_to_none(tmp_path: Path) -> None:
    usable = os.sched_getaffinity(0)
    assert Cores.take(tmp_path, len(usable)) is None


def test_a_phase_and_what_it_starts_stay_on_them(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    programs.folder.mkdir()
    programs.modules.mkdir()
    try:
        source = "import os, subprocess; print(len(os.sched_getaffinity(0)), flush=True); subprocess.run(['nproc'])"
        programs.run(programs.phase(source), cores=1, cores_folder=str(tmp_path / "cores"))
        assert programs.log().split() == ["1", "1"]
    finally:
        programs.close()
