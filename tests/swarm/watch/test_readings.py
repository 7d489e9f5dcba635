"""What this machine adds to a brain: heartbeats, whether the study runs, its limits. Real files and a real lock."""

from pathlib import Path

import pytest
from factories.settings import run_settings
from factories.studies import FakeStudy
from fakes.fake_clock import FakeClock
from fakes.git_repository import make_repository

from swarm.clock import SystemClock
from swarm.orchestrator.control import only_orchestrator
from swarm.orchestrator.settings_file import save_settings
from swarm.study.settings import Layout, ProposerSettings
from swarm.trial.heartbeat import Heartbeat
from swarm.watch.readings import Readings, layout_near


def running(root: Path) -> tuple[FakeStudy, Layout, str]:
    """A study with one trial that runs, and its settings on disk."""
    fake = FakeStudy()
    fake.measure_noise()
    trial = fake.claim(parent="t0001")
    fake.start(trial)
    proposers = {
        "worker_1": ProposerSettings(spec="openai", max_usd=5.0),
        "worker_2": ProposerSettings(spec="openai", max_usd=3.0, max_tokens=1000),
    }
    settings = run_settings(root, study_id=fake.study.study_id, proposers=proposers)
    save_settings(settings)
    return fake, settings.layout, trial


def test_a_running_study_has_the_steps_of_its_trials_and_the_device_that_they_run_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWARM_GPU_DIR", str(tmp_path / "gpu"))
    fake, layout, trial = running(tmp_path)
    Heartbeat(layout.trial(fake.study.study_id, trial).heartbeat).beat(12, 0.25, 2.5, 5.0)
    with only_orchestrator(layout) as reign:
        reign.announce(fake.study.study_id)
        reading = Readings(layout, SystemClock()).take(fake.study)
    assert reading.runs and reading.here and reading.trouble is None
    pulse = reading.pulses[trial]
    assert (pulse.step, pulse.progress, pulse.loss) == (12, 0.25, 2.5) and 0 <= pulse.silent_s < 5
    assert [card.total_mib > 0 for card in reading.cards] == [True]
    assert (reading.max_usd, reading.max_tokens) == (3.0, 1000)


def test_a_ledger_that_cannot_be_read_is_said_and_the_rest_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gpu").write_text("a file\x1b[31m", encoding="utf-8")
    monkeypatch.setenv("SWARM_GPU_DIR", str(tmp_path / "gpu"))
    fake, layout, _ = running(tmp_path)
    with only_orchestrator(layout) as reign:
        reign.announce(fake.study.study_id)
        reading = Readings(layout, SystemClock()).take(fake.study)
    assert reading.runs and reading.cards == () and reading.trouble is not None
    assert reading.trouble.startswith("no device memory: ")


def test_whoever_must_not_wait_reads_no_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_GPU_DIR", str(tmp_path / "gpu"))
    fake, layout, _ = running(tmp_path)
    with only_orchestrator(layout) as reign:
        reign.announce(fake.study.study_id)
        reading = Readings(layout, SystemClock(), ledger=False).take(fake.study)
    assert reading.runs and reading.cards == () and not (tmp_path / "gpu").exists()


def test_a_study_whose_orchestrator_has_gone_does_not_run(tmp_path: Path) -> None:
    fake, layout, _ = running(tmp_path)
    reading = Readings(layout, SystemClock()).take(fake.study)
    assert (reading.runs, reading.here, reading.pulses) == (False, True, {})
    with only_orchestrator(layout) as reign:
        reign.announce("another study")
        assert not Readings(layout, SystemClock()).take(fake.study).runs


def test_a_copy_of_a_brain_is_a_copy_also_inside_another_repository(tmp_path: Path) -> None:
    fake = FakeStudy()
    assert layout_near(tmp_path / "swarm_brain.jsonl") is None
    root = make_repository(tmp_path / "repo").root
    layout = layout_near(root / "swarm_brain.jsonl")
    assert layout == Layout(root=root)
    assert not Readings(layout, FakeClock()).take(fake.study).here
    assert not Readings(None, FakeClock()).take(fake.study).here
