"""What `swarm doctor` says of a machine whose sandbox is not whole."""

from pathlib import Path

import pytest

from swarm import sandbox
from swarm.cli import doctor
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
