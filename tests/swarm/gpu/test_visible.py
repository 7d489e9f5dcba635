"""CUDA_VISIBLE_DEVICES as CUDA reads it, against the order in which NVML counts. Compiled from CUDA's documentation."""

import pytest
from fakes.fake_nvml import FakeNvml

from swarm.admission.lease import child_env
from swarm.gpu import NvmlProbe, Unusable
from swarm.gpu.visible import visible

A, B, C = "GPU-aaaa0000-1111", "GPU-aaaa2222-3333", "GPU-cccc0000-4444"
SAME = [(A, "NVIDIA H100"), (B, "NVIDIA H100"), (C, "NVIDIA H100")]
MIXED = [(A, "NVIDIA GeForce GT 1030"), (B, "NVIDIA GeForce RTX 4090")]
BY_BUS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (None, (A, B, C)),
        ("0", (A,)),
        ("2,0", (C, A)),
        ("1, 2", (B, C)),
        (B, (B,)),
        (f"{C},{A}", (C, A)),
        ("GPU-cccc", (C,)),
        ("GPU-aaaa2", (B,)),
        (f"1,{C}", (B, C)),
        ("0,-1,1", (A,)),  # what comes after an entry that is none is hidden
        ("0,7,1", (A,)),
        ("1,GPU-aaaa,2", (B,)),  # two cards begin so
        ("1,GPU-eeee", (B,)),
        ("1,", (B,)),
    ],
)
def test_it_shows_what_cuda_shows(asked: str | None, shown: tuple[str, ...]) -> None:
    environment = {} if asked is None else {"CUDA_VISIBLE_DEVICES": asked}
    assert visible(SAME, environment) == shown


@pytest.mark.parametrize("asked", ["", " ", "-1", "7", "GPU-aaaa", "GPU-eeee", "NoDevFiles", "all", "none", "-1,0"])
def test_a_variable_that_hides_every_card_is_an_error(asked: str) -> None:
    with pytest.raises(Unusable, match=r"hides every card of this machine .*0: GPU-aaaa0000-1111.*Unset CUDA_VISIBLE"):
        visible(SAME, {"CUDA_VISIBLE_DEVICES": asked})


@pytest.mark.parametrize("asked", ["0,0", f"1,{B}", f"{A},GPU-aaaa0"])
def test_a_card_that_is_named_twice_hides_all(asked: str) -> None:
    with pytest.raises(Unusable, match="twice"):
        visible(SAME, {"CUDA_VISIBLE_DEVICES": asked})


@pytest.mark.parametrize("asked", ["MIG-91a1c0de-0000", "MIG-GPU-aaaa0000-1111/1/0", f"{A},MIG-91a1"])
def test_a_slice_is_refused_by_its_name(asked: str) -> None:
    with pytest.raises(Unusable, match="a slice of a card"):
        visible(SAME, {"CUDA_VISIBLE_DEVICES": asked})


def test_cards_of_several_kinds_are_counted_by_their_place_or_not_at_all() -> None:
    for asked in ("0", "1", f"{B},0"):
        with pytest.raises(Unusable, match="CUDA_DEVICE_ORDER=PCI_BUS_ID"):
            visible(MIXED, {"CUDA_VISIBLE_DEVICES": asked})
        with pytest.raises(Unusable, match="fastest first"):
            visible(MIXED, {"CUDA_VISIBLE_DEVICES": asked, "CUDA_DEVICE_ORDER": "FASTEST_FIRST"})
    assert visible(MIXED, {"CUDA_VISIBLE_DEVICES": "1", **BY_BUS}) == (B,)
    assert visible(MIXED, {"CUDA_VISIBLE_DEVICES": B}) == (B,)
    assert visible(MIXED, {}) == (A, B)


def test_the_probe_reads_the_visible_cards_only_and_a_trial_is_told_one_by_its_uuid() -> None:
    class Three(FakeNvml):
        def nvmlDeviceGetCount(self) -> int:  # noqa: N802
            return 3

        def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
            return SAME[handle][0]

        def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> int:  # noqa: N802
            return [card for card, _ in SAME].index(uuid.decode())

    for environment, shown in (({}, [A, B, C]), ({"CUDA_VISIBLE_DEVICES": "2,1"}, [C, B])):
        probe = NvmlProbe(Three("v2_driver"), environment=environment)
        assert [reading.uuid for reading in probe.read()] == shown
    assert child_env(C, 0.5)["CUDA_VISIBLE_DEVICES"] == C
