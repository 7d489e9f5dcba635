"""What a trial asks of its device's memory and of the machine's, from what the study has recorded."""

from types import SimpleNamespace

import pytest
from factories.studies import FakeStudy

from swarm.execution.memory import FIRST_HOST_RAM_MIB, evidence_of
from swarm.records import Operator, ProposalClaimed, Scalar
from swarm.study.settings import RunSettings


def on(device: str) -> RunSettings:
    return SimpleNamespace(device=device, memory_mib=1200)  # type: ignore[return-value]


def a_claim() -> ProposalClaimed:
    fake = FakeStudy(seed=3)
    return fake.study.trials[fake.baseline()].claim


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
    claim = a_claim()
    assert evidence_of(claim, study, on("cuda")).host_ram_mib == reserved
    assert evidence_of(claim, study, on("cpu")).host_ram_mib == 0, "there it is the device's own memory"


@pytest.mark.parametrize(
    ("changed", "ratio"),
    [({"BATCH_SIZE": (64, 128)}, 2.0), ({"BATCH_SIZE": (64, 32)}, 0.5), ({"MAX_LR": (0.1, 0.2)}, 1.0), ({}, 1.0)],
)
def test_the_evidence_says_by_how_much_the_batch_has_grown(
    changed: dict[str, tuple[Scalar, Scalar]], ratio: float
) -> None:
    claim = a_claim().model_copy(update={"constants_changed": changed, "operator": Operator.TUNE})
    assert evidence_of(claim, FakeStudy(seed=3).study, on("cpu")).batch_ratio == ratio
