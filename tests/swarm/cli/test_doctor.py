"""What `swarm doctor` says of a machine whose sandbox is not whole."""

from pathlib import Path

import pytest
from fakes.fake_nvml import FakeNvml

from swarm import sandbox
from swarm.admission.selftest import usable
from swarm.admission.selftest.usable import Works
from swarm.cli import doctor
from swarm.gpu import NvmlProbe, Unusable, detect
from swarm.orchestrator import opening
from swarm.sandbox import SandboxReport, ladder, landlock, namespaces, seccomp

BOLD_RED = "\x1b[1;31m"


def _said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, abi: int, filters: bool) -> str:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(namespaces, "available", lambda: False)
    monkeypatch.setattr(landlock, "abi", lambda: abi)
    monkeypatch.setattr(seccomp, "available", lambda: filters)
    monkeypatch.setattr(doctor, "examine", lambda cwd: [doctor.Finding("sandbox", *doctor._sandbox(cwd))])
    assert doctor.print_doctor(Path(), as_json=False) == 0, "a study can run all the same"
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("abi", "filters", "lacks"),
    [
        (0, True, ("files are open", "found: none", "no namespaces")),
        (0, False, ("the network is open", "no system call is filtered", "processes outside can be signalled")),
        (2, True, ("files outside can be truncated", "found: version 2")),
        (7, False, ("a seccomp filter", "UDP is open")),
    ],
)
def test_it_says_in_red_what_the_machine_lacks(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    abi: int,
    filters: bool,
    lacks: tuple[str, ...],
) -> None:
    said = _said(monkeypatch, capsys, abi=abi, filters=filters)
    assert f"{BOLD_RED}risk" in said and f"{BOLD_RED}sandbox: " in said
    assert all(text in said for text in lacks), said


def test_a_whole_sandbox_is_not_red(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert BOLD_RED not in _said(monkeypatch, capsys, abi=ladder.STRICT_ABI, filters=True)


def test_this_machine_is_told_as_its_trials_will_be(tmp_path: Path) -> None:
    report: SandboxReport = sandbox.probe()
    verdict, text = doctor._sandbox(tmp_path)
    assert report.level in text and report.detail in text
    assert (verdict == "ok") == (report.seccomp and (report.namespaces or report.landlock_abi >= ladder.STRICT_ABI))


def test_a_card_is_tried_outside_and_inside_and_its_failure_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def nvml() -> NvmlProbe:
        return NvmlProbe(FakeNvml("v2_driver"), environment={})

    tried = Works("NVIDIA GeForce RTX 4090", "580.95.05", "2.12.0", "namespaces+landlock+seccomp")
    monkeypatch.setattr(detect, "NvmlProbe", nvml)
    monkeypatch.setattr(usable, "require_usable", lambda probe: tried)
    found = {finding.check: finding for finding in doctor.examine(Path())}
    assert found["card"].verdict == "ok" and "outside of the sandbox and inside it" in found["card"].detail

    def refused(probe: NvmlProbe) -> Works:
        raise Unusable("the card works outside only.", "Do this.")

    monkeypatch.setattr(usable, "require_usable", refused)
    found = {finding.check: finding for finding in doctor.examine(Path())}
    detail = "the card works outside only. Do this. --device cpu runs without it."
    assert found["card"] == doctor.Finding("card", "fail", detail)


def test_a_machine_without_a_card_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "NvmlProbe", lambda: NvmlProbe(FakeNvml("no_device"), signs=lambda: ""))
    assert doctor._card(Path()) == (
        "warn",
        "there is no NVIDIA card here: trials run on the CPU, by default on stand-in data",
    )


def test_a_study_on_a_card_tries_it_first_and_one_on_the_cpu_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(opening, "NvmlProbe", lambda: "the probe")
    monkeypatch.setattr(opening, "require_usable", lambda probe, sandbox, only: f"{probe} in {sandbox}, {only}")
    opening.require_usable_card("cuda", ("GPU-1",), "strict", said.append)
    opening.require_usable_card("cpu", (), "strict", said.append)
    assert said == ["the probe in strict, ('GPU-1',)"]
