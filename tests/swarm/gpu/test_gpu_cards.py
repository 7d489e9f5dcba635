"""Which cards a study may have, and which machine is refused by name."""

from dataclasses import replace
from pathlib import Path

import pytest
from fakes.fake_nvml import FakeNvml
from fakes.steady_probe import CARD, RAM, SteadyProbe

from swarm.errors import UsageError
from swarm.gpu import NvmlProbe
from swarm.gpu.cards import chosen_cards, left_out
from swarm.gpu.unsupported import unsupported

A = CARD
B = replace(CARD, uuid="GPU-b")
OLD = replace(CARD, uuid="GPU-old", name="Fake 2080")
LOST = replace(B, uuid="GPU-lost", lost=True, fault="NVMLError_GpuIsLost: GPU is lost")


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [("all", [A, B]), ("0,1", [A, B]), ("1,0", [A, B]), ("1", [B]), ("GPU-b", [B]), ("2", [OLD]), ("GPU-o", [OLD])],
)
def test_cards_are_named_by_number_or_uuid_and_all_are_of_one_model(asked: str, chosen: list[object]) -> None:
    assert list(chosen_cards((A, B, OLD), asked)) == chosen


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("0,2", "different models .Fake 2080, Fake 4090."),
        ("7", "'7', which is no card of this machine: 0 = GPU-a .Fake 4090., 1 = GPU-b"),
        ("GPU-", "beginning of several"),
        ("", "is no card"),
        ("3", "GPU-lost does not answer .NVMLError_GpuIsLost"),
    ],
)
def test_a_choice_that_makes_no_study_says_why(asked: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        chosen_cards((A, B, OLD, LOST), asked)


def test_what_is_left_out_is_said() -> None:
    everything = (A, LOST, OLD)
    assert chosen_cards(everything) == (A,)
    said = left_out(everything, (A,))
    assert said is not None and "GPU-lost" in said and "Fake 2080 (GPU-old)" in said
    assert left_out((A, B), (A, B)) is None


def refused(probe: SteadyProbe | NvmlProbe, folder: Path, **more: object) -> str | None:
    options = {"environment": {}, "torch_version": "2.11.0+cu130", "mps_folder": folder, "amd_driver": folder / "kfd"}
    return unsupported(probe, **(options | more))  # type: ignore[arg-type]


def test_an_ordinary_machine_is_not_refused(tmp_path: Path) -> None:
    assert refused(SteadyProbe(A), tmp_path) is None
    assert refused(SteadyProbe(RAM), tmp_path) is None


def test_amd_is_refused_by_name_with_the_remedy(tmp_path: Path) -> None:
    said = refused(SteadyProbe(RAM), tmp_path, torch_version="2.11.0+rocm7.0")
    assert said is not None and "ROCm" in said and "--device cpu" in said
    (tmp_path / "kfd").touch()
    said = refused(SteadyProbe(RAM), tmp_path)
    assert said is not None and "AMD card" in said and "--device cpu" in said


def test_an_mps_server_is_refused_by_name_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "control").touch()
    said = refused(SteadyProbe(A), tmp_path)
    assert said is not None and "MPS" in said and "echo quit" in said
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert refused(SteadyProbe(A), elsewhere) is None
    assert refused(SteadyProbe(A), elsewhere, environment={"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path)}) is not None


def test_mig_is_refused_by_name_with_the_remedy(tmp_path: Path) -> None:
    said = refused(SteadyProbe(A), tmp_path, environment={"CUDA_VISIBLE_DEVICES": "MIG-1234"})
    assert said is not None and "MIG-1234" in said and "-mig 0" in said

    class Divided(FakeNvml):
        def nvmlDeviceGetMigMode(self, handle: int) -> list[int]:  # noqa: N802
            return [1, 1]

    class Whole(FakeNvml):
        def nvmlDeviceGetMigMode(self, handle: int) -> list[int]:  # noqa: N802
            raise self.NVMLError_NotSupported

    said = refused(NvmlProbe(Divided("v2_driver")), tmp_path)
    assert said is not None and "divided by MIG" in said and "GPU-" in said
    assert refused(NvmlProbe(Whole("v2_driver")), tmp_path) is None
    assert refused(NvmlProbe(FakeNvml("v2_driver")), tmp_path) is None


class TwoCards(FakeNvml):
    """The second one is lost: by its index, or as soon as its memory is asked for."""

    lost_by = "index"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if index == 1 and self.lost_by == "index":
            raise self.NVMLError_GpuIsLost
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return str(self.head["uuid"]) if handle == 0 else "GPU-second"

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> int:  # noqa: N802
        if uuid == b"GPU-second":
            raise self.NVMLError_GpuIsLost
        return super().nvmlDeviceGetHandleByUUID(uuid)


@pytest.mark.parametrize("lost_by", ["index", "memory"])
def test_a_worker_that_starts_after_a_card_was_lost_finds_the_others(
    lost_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TwoCards, "lost_by", lost_by)
    fake = TwoCards("v2_driver")
    (reading,) = NvmlProbe(fake, environment={}).read()
    assert reading.uuid == fake.head["uuid"] and not reading.lost
