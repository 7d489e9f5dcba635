"""A disk that fills up while a study runs: it waits, says so in one sentence, and goes on when there is room."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.tiny_study import TinyStudy, make_tiny_study, stopped_at_the_end

from swarm.brain import verify
from swarm.records import TrialState
from swarm.repo.runtime import make_runtime
from swarm.study.settings import Layout

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("may not mount here: a full disk is not verified")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Leaves nothing."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    os.write(file.fileno(), b"x" * size)
            except OSError:
                continue
    return ballast


@pytest.mark.slow
def test_a_study_waits_for_room_and_goes_on(small: Path, tmp_path: Path) -> None:
    tiny = make_tiny_study(small, samples=6_000)
    tiny = TinyStudy(tiny.repo, tmp_path / "ledger")
    up = tiny.start("--trials", "4")
    with stopped_at_the_end(up):
        tiny.wait_for(lambda study: any(trial.started for trial in study.trials.values()))
        ballast = fill(small)
        time.sleep(25)
        assert up.poll() is None
        ballast.unlink()
        assert up.wait(200) == 0, (tmp_path / "up.log").read_text()[-3000:]
    said = (tmp_path / "up.log").read_text()
    assert said.count(f"the disk of {tiny.root} is full: ") == 1
    assert "There is room again: the study goes on." in said
    study = tiny.study()
    assert [trial.state for trial in study.trials.values()] == [TrialState.COMPLETE] * 4
    assert verify(tiny.brain).ok
    assert tiny.processes() == [] and tiny.held_leases() == []


@pytest.mark.slow
def test_a_study_on_a_full_disk_can_be_stopped(small: Path, tmp_path: Path) -> None:
    tiny = make_tiny_study(small, samples=3_000_000)
    tiny = TinyStudy(tiny.repo, tmp_path / "ledger")
    up = tiny.start("--trials", "4")
    with stopped_at_the_end(up):
        tiny.wait_for(lambda study: len(study.trials) == 2)
        fill(small)
        began = time.monotonic()
        tiny.swarm("stop", "--now", "--timeout", "30")
        assert up.wait(30) in (0, 1)
        assert time.monotonic() - began < 20
    assert tiny.processes() == [] and tiny.held_leases() == []


def test_a_study_without_room_does_not_begin(small: Path, tmp_path: Path) -> None:
    tiny = TinyStudy(make_tiny_study(small).repo, tmp_path / "ledger")
    ballast = fill(small)
    done = tiny.up()
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "0.0 MiB are free" in done.stderr
    ballast.unlink()
    make_runtime(Layout(root=tiny.root))
    assert (tiny.root / ".swarm" / ".gitignore").read_text() == "*\n"
