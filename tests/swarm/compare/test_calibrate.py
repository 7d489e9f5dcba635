"""What a calibration concludes from trials that ran alone and in pairs."""

from pathlib import Path

import pytest
from factories.settings import run_settings
from factories.studies import FakeStudy
from fakes.tiny_study import make_tiny_study

from swarm.compare.calibrate import PAIRED_RUNS, SOLO_RUNS, Calibration, evaluate, recommended, store
from swarm.errors import SwarmError
from swarm.harness.prepare import prepare
from swarm.records import Resources, TrialFinished
from swarm.study.settings import Layout, RunSettings
from swarm.study.state import StudyState, replay


def calibration_study(
    *, alone: int = 5, together: int = 4, paired_rate: float = 0.8, share: float = 0.95, passing: int = 0
) -> StudyState:
    """Runs of 1,000 images in 10 s alone; in company for `share` of their time each at `paired_rate` of that speed. The
    last `passing` were in company for a fifth of theirs, and nearly as fast as alone."""
    fake = FakeStudy(noise_replicates=9)
    fake.measure_noise(alone + together + passing)
    seen = 0
    records = []
    for written in fake.records:
        record = written
        if isinstance(written, TrialFinished):
            tenants = ("other",) if seen >= alone else ()
            shared = (0.2 if seen >= alone + together else share) if tenants else 0.0
            training_s = 10.0 if not tenants else 10.2 if seen >= alone + together else 10 / paired_rate
            resources = Resources(
                device="fake device",
                torch="2.0",
                samples=1000,
                wall_s=training_s + 3,
                overhead_s={"import": 2.0, "predict": 1.0},
                co_tenants=tenants,
                overlap_s=shared * (training_s + 3),
            )
            record = written.model_copy(update={"resources": resources})
            seen += 1
        records.append(record)
    study = replay(records).latest
    assert study is not None
    return study


@pytest.mark.parametrize(("paired_rate", "gain", "advice"), [(0.8, 1.6, "shared"), (0.5, 1.0, "exclusive")])
def test_sharing_is_advised_where_it_pays(paired_rate: float, gain: float, advice: str) -> None:
    found = evaluate(calibration_study(paired_rate=paired_rate), run_settings(), now=0.0)
    assert found.solo_images_per_s == pytest.approx(100)
    assert found.gain == pytest.approx(gain)
    assert found.recommendation == advice
    assert 0.001 < found.sigma < 0.05 and found.runs == 9
    assert f"--gpu-mode {advice}" in found.text


def test_runs_that_only_met_in_passing_are_no_pair() -> None:
    found = evaluate(calibration_study(paired_rate=0.5, passing=4), run_settings(), now=0.0)
    assert found.gain == pytest.approx(1.0)
    assert found.runs == 13
    with pytest.raises(SwarmError, match="5 runs alone and 0 in company for 90% of their time"):
        evaluate(calibration_study(share=0.85), run_settings(), now=0.0)


def test_too_few_runs_are_an_error_that_says_how_many() -> None:
    with pytest.raises(SwarmError, match="2 runs alone and 4 in company"):
        evaluate(calibration_study(alone=2), run_settings(), now=0.0)


def test_advice_is_kept_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_CACHE", str(tmp_path))
    assert recommended("fake device", "tiny") == "shared"
    found = evaluate(calibration_study(paired_rate=0.5), run_settings(), now=0.0)
    found.keep()
    assert recommended("fake device", "tiny") == "exclusive"
    assert recommended("another device", "tiny") == "shared"
    assert recommended("fake device", "another") == "shared"
    monkeypatch.setattr("swarm.compare.calibrate.installed_torch", lambda: "9.9")
    assert recommended("fake device", "tiny") == "shared"


def test_a_damaged_calibration_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWARM_CACHE", str(tmp_path))
    evaluate(calibration_study(), run_settings(), now=0.0).keep()
    next(store().glob("*.json")).write_text("{}")
    with pytest.raises(SwarmError, match="run swarm calibrate again"):
        recommended("fake device", "tiny")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_calibration_of_a_real_target(tmp_path: Path) -> None:
    """And `--gpu-mode auto` follows what was found, whatever it was, and the opposite when that is written there."""
    tiny = make_tiny_study(tmp_path, samples=60_000)
    tiny.repo.write("workers/__init__.py", "raise SystemExit('a package of the user, and not ours')")
    tiny.repo.commit("another package of our name")
    cache = tmp_path / "cache"
    (cache / "data").mkdir(parents=True)
    (cache / "data" / "standin").symlink_to(prepare("standin").layout.root)
    done = tiny.swarm("calibrate", "--target", "tiny", "--data", "standin", "--device", "cpu", SWARM_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    assert "noise floor" in done.stdout and "--gpu-mode" in done.stdout
    assert not tiny.brain.exists()
    (kept,) = (cache / "calibration").glob("*.json")
    found = Calibration.model_validate_json(kept.read_text())
    assert found.runs == SOLO_RUNS + PAIRED_RUNS
    opposite = 0.5 if found.recommendation == "shared" else 2.0
    other = found.model_copy(update={"paired_images_per_s": opposite * found.solo_images_per_s})
    for written in (found, other):
        kept.write_text(written.model_dump_json())
        done = tiny.up("--trials", "1", "--gpu-mode", "auto", SWARM_CACHE=str(cache))
        assert done.returncode == 0, done.stderr
        layout = Layout(root=tiny.root)
        chosen = RunSettings.model_validate_json(layout.settings(tiny.study().study_id).read_bytes())
        assert chosen.gpu_mode == written.recommendation
    assert found.recommendation != other.recommendation
