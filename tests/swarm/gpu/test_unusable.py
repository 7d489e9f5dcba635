"""A card that is there and cannot be used: always an error with a reason and a remedy, and never the CPU unasked."""

import threading
import time
from pathlib import Path

import pytest
from fakes.fake_nvml import FakeNvml

from swarm.gpu import NoDevice, NvmlProbe, Unusable, detect, detect_probe
from swarm.gpu.unusable import TorchFacts, signs_of_a_card, why_unusable

CARD = "NVIDIA GeForce RTX 4090"


def there() -> str:
    return "/dev/nvidia0"


def absent() -> str:
    return ""


def test_a_driver_that_wakes_its_card_first_is_waited_for() -> None:
    """Four seconds, which pass here in none: a limit of 3 s would have made the night one on the CPU."""
    waits = []
    nvml = FakeNvml("slow_start", sleep=waits.append)
    assert NvmlProbe(nvml, signs=there).read()[0].name == CARD
    assert waits == [4.0]
    slow = FakeNvml("slow_start", sleep=lambda seconds: time.sleep(seconds / 20))
    assert NvmlProbe(slow, timeout_s=0.05, first_timeout_s=30 / 20, signs=there).name == CARD
    with pytest.raises(Unusable, match="the driver does not answer"):
        NvmlProbe(FakeNvml("slow_start", sleep=lambda _: threading.Event().wait(5)), first_timeout_s=0.05, signs=there)


@pytest.mark.parametrize(
    ("trace", "says"),
    [
        ("version_mismatch", r"different versions, as after an update .*Restart the machine.*--device cpu"),
        ("no_permission", r"this user may not ask the driver.*group that owns /dev/nvidiactl"),
        ("lost_at_start", r"fallen off the bus.*Xid"),
        ("no_device", r"reports no card, and /dev/nvidia0 is there"),
    ],
)
def test_a_driver_that_refuses_is_an_error_where_there_is_a_card(trace: str, says: str) -> None:
    with pytest.raises(Unusable, match=says):
        NvmlProbe(FakeNvml(trace), signs=there)
    with pytest.raises(NoDevice):
        NvmlProbe(FakeNvml(trace), signs=absent)


def test_auto_never_takes_the_cpu_beside_a_card_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> NvmlProbe:
        return NvmlProbe(FakeNvml("version_mismatch"), signs=there)

    monkeypatch.setattr(detect, "NvmlProbe", failing)
    for device in ("auto", "cuda"):
        with pytest.raises(Unusable):
            detect_probe(device)
    assert detect_probe("cpu").kind == "cpu"


def test_what_shows_that_there_is_a_card(tmp_path: Path) -> None:
    assert signs_of_a_card(tmp_path) == ""
    slot = tmp_path / "sys/bus/pci/devices/0000:01:00.0"
    slot.mkdir(parents=True)
    (slot / "vendor").write_text("0x10de\n")
    (slot / "class").write_text("0x040300\n")  # its sound
    assert signs_of_a_card(tmp_path) == ""
    (slot / "class").write_text("0x030200\n")
    assert signs_of_a_card(tmp_path) == "/sys/bus/pci/devices/0000:01:00.0"
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "dxg").touch()
    assert signs_of_a_card(tmp_path) == "/dev/dxg"


@pytest.mark.parametrize(
    ("built_for", "error", "driver", "reason", "remedy"),
    [
        (None, "", "580.95.05", "built without CUDA", "Install a build with CUDA"),
        (
            "13.0",
            "CUDA error",
            "550.54.15",
            "needs driver 580 or later; this is 550.54.15",
            "Update the driver, .*CUDA 12",
        ),
        ("12.8", "x", "470.1", "needs driver 525 or later", "CUDA 11"),
        ("12.8", "The NVIDIA driver on your system is too old (found version 12020).", "535.1", "too old", "Update"),
        (
            "12.8",
            "Error 804: forward compatibility was attempted on non supported HW",
            "550",
            "compatibility",
            "cuda-compat",
        ),
        ("12.8", "Error 802: system not yet initialized", "550", "fabric manager", "nvidia-fabricmanager"),
        (
            "12.8",
            "Error 304: OS call failed or operation not supported on this OS",
            "570",
            "refused while CUDA",
            "dmesg",
        ),
        ("12.8", "CUDA-capable device(s) is/are busy or unavailable", "570", "compute mode", "nvidia-smi -c 0"),
        (
            "12.8",
            "no kernel image is available for execution on the device",
            "570",
            "no code for a card",
            "Install a torch",
        ),
        ("12.8", "CUDA out of memory. Tried to allocate 2.00 MiB.", "570", "no memory left", "End who holds it"),
        ("12.8", "uncorrectable ECC error encountered", "570", "faulty", "Reset"),
        (
            "12.8",
            "CUDA unknown error - this may be due to an incorrectly set up environment",
            "570",
            "does not start",
            "uvm",
        ),
        ("12.8", "No CUDA GPUs are available", "570", "torch sees no card", "rights on /dev/nvidia"),
        ("12.8", "something new", "570", "cannot use the card: something new", "swarm doctor"),
    ],
)
def test_what_torch_says_has_a_reason_and_a_remedy(
    built_for: str | None, error: str, driver: str, reason: str, remedy: str
) -> None:
    problem = why_unusable(TorchFacts("2.12.0", built_for, error), driver)
    assert problem is not None
    with pytest.raises(Unusable, match=reason):
        raise problem
    with pytest.raises(Unusable, match=remedy):
        raise problem
    assert str(problem).endswith("--device cpu runs without it.")


def test_a_card_that_computes_is_usable_whatever_its_driver_calls_itself() -> None:
    for driver in ("580.95.05", "550.54.15", "unknown (no answer)"):
        assert why_unusable(TorchFacts("2.12.0", "13.0"), driver) is None
