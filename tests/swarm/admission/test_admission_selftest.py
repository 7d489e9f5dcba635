"""What `swarm gpu selftest` says, with and without a card. The card here is a fake; what torch says of it, too."""

import json
import os
from pathlib import Path

import pytest
from fakes import fake_selftest_child
from fakes.fake_nvml import FakeNvml

from swarm import sandbox
from swarm.admission.selftest import NEVER, PROMISES, Check, children, limits, run, selftest
from swarm.gpu import DeviceReading, NvmlProbe
from swarm.sandbox.policy import SandboxReport, gpu_devices
from swarm.supervisor import PhaseResult, TrialResult

NO_DRIVER = pytest.mark.skipif(
    Path("/proc/driver/nvidia").exists(),
    reason="this machine has an NVIDIA driver: what is said without one is not verified",
)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> NvmlProbe:
    """A driver that answers, and children that pretend to compute."""
    monkeypatch.setattr(children, "CHILD", Path(fake_selftest_child.__file__))
    # It takes seconds and is tried for itself below.
    monkeypatch.setattr(run, "cuda_in_the_sandbox", lambda _: Check("CUDA in the sandbox", None, "not tried here", ""))
    nvml = FakeNvml("v2_driver")
    nvml.at(0)
    return NvmlProbe(nvml, host_pids=True)


@pytest.fixture
def device(card: NvmlProbe) -> DeviceReading:
    return card.read()[0]


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program of MPS's name on the path."""
    folder.mkdir()
    program = folder / limits.MPS_CONTROL
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@NO_DRIVER
def test_without_a_gpu_nothing_is_proven(tmp_path: Path) -> None:
    report = selftest(tmp_path / "report.json")
    assert report.verified_on == NEVER == "never verified on a GPU"
    assert [check.name for check in report.checks] == ["device", *PROMISES]
    assert {check.value for check in report.checks[1:]} == {"not proven"}
    assert {check.passed for check in report.checks} == {None}
    assert json.loads((tmp_path / "report.json").read_text())["verified_on"] == NEVER


@NO_DRIVER
def test_every_promise_is_tried_on_a_card(card: NvmlProbe) -> None:
    report = selftest(probe=card)
    assert tuple(check.name for check in report.checks) == PROMISES
    found = {check.name: check for check in report.checks}
    assert found["cap bites"].passed and found["neighbour trains on"].passed
    assert found["memory returns after a kill"].passed
    assert found["pair speed-up"].value == 2.0
    assert report.verified_on.startswith("NVIDIA GeForce RTX 4090, driver 580.95.05, torch fake, ")


def test_a_cap_that_does_not_bite_fails(card: NvmlProbe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_HELD_MIB", str(2 * children.CAP_MIB))
    report = selftest(probe=card)
    assert not report.passed
    assert next(check for check in report.checks if check.name == "cap bites").passed is False


@NO_DRIVER
def test_a_phase_of_a_trial_is_confined_while_it_looks_for_cuda() -> None:
    found = limits.cuda_in_the_sandbox({})
    assert (found.passed, found.value) == (None, "not proven")
    assert "torch sees no CUDA device" in found.detail and "no device nodes" in found.detail
    assert found.detail.startswith(sandbox.probe().level)


@NO_DRIVER
def test_cuda_that_vanishes_in_the_sandbox_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    # What the phase of the test above has answered.
    phase = PhaseResult("selftest", 0.0, 1.0, 1.0, 100.0, exit_code=limits.NO_CUDA, signal=None, ending="exit")
    outcome = TrialResult("selftest", (phase,), SandboxReport(level="none"), 0.0, 1.0)
    monkeypatch.setattr(limits, "confined", lambda *_: outcome)
    monkeypatch.setattr(limits, "gpu_devices", lambda: ("/dev/nvidia0", "/dev/nvidiactl"))
    found = limits.cuda_in_the_sandbox({})
    assert found.passed is False and "/dev/nvidia0" in found.detail
    assert gpu_devices() == ()


def test_mps_that_is_not_installed_is_not_available(device: DeviceReading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert limits.mps_limit(device).value == "not available"


@pytest.mark.parametrize(("held_mib", "value"), [("960", "bites"), ("2048", "not proven")])
def test_mps_is_believed_only_if_its_limit_bites(
    device: DeviceReading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_mib: str, value: str
) -> None:
    calls = tmp_path / "calls"
    install(tmp_path / "bin", monkeypatch, f'echo "$* $CUDA_MPS_PIPE_DIRECTORY" >> {calls}; cat >> {calls}')
    monkeypatch.setenv("FAKE_HELD_MIB", held_mib)
    assert limits.mps_limit(device).value == value
    started, stopped, order = calls.read_text().splitlines()
    assert started.startswith("-d ") and started[3:] == stopped.strip() and order == "quit"


def test_a_daemon_that_does_not_start_proves_nothing(
    device: DeviceReading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "bin", monkeypatch, "exit 1")
    found = limits.mps_limit(device)
    assert (found.passed, found.value) == (None, "not proven")


def test_a_limit_of_nvml_is_never_set(card: NvmlProbe) -> None:
    assert limits.nvml_limit(card) == Check(
        "NVML limit", None, "not available", "", "the NVML binding has no memory limits"
    )
    card._nvml.nvmlDeviceSetMemoryLimits_v1 = pytest.fail
    assert limits.nvml_limit(card).value == "not proven"


@pytest.mark.gpu
@pytest.mark.timeout(600)
def test_selftest_passes_on_this_card(tmp_path: Path) -> None:
    assert selftest(tmp_path / "report.json").passed
