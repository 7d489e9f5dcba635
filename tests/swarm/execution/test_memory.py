"""What a trial asks of its device's memory and of the machine's, from what the study has recorded."""

from types import SimpleNamespace

import pytest
from fakes.fake_study import FakeStudy

from swarm.execution.memory import FIRST_HOST_RAM_MIB, host_ram_mib
from swarm.study.settings import RunSettings


def on(device: str) -> RunSettings:
    return SimpleNamespace(device=device)  # type: ignore[return-value]


def study_whose_trials_held(*peaks: int | None) -> FakeStudy:
    fake = FakeStudy(seed=3)
    for peak in peaks:
        fake.finish(fake.baseline(), host_peak_mib=peak)
    return fake


@pytest.mark.parametrize(
    ("peaks", "reserved"),
    [((), FIRST_HOST_RAM_MIB), ((None,), FIRST_HOST_RAM_MIB), ((2000, 2400, None), 3000)],
)
def test_ram_beside_a_gpu_is_reserved_as_the_largest_trial_has_held_it(
    peaks: tuple[int | None, ...], reserved: int
) -> None:
    study = study_whose_trials_held(*peaks).study
    assert host_ram_mib(study, on("cuda")) == reserved
    assert host_ram_mib(study, on("cpu")) == 0, "there it is the device's own memory"
