"""The evening on a card, with steps that take no card: it resumes, ends in time, and says what it did not reach."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "gpu_evening"))

import evening_figure
import evening_results
import evening_run
import evening_table
from evening_results import Results
from evening_run import Evening, Figures, Step, StepFailed
from evening_steps import name_of, planned
from PIL import Image

FOLDER = Path(__file__).parents[2] / "benchmarks" / "gpu_evening"


def evening(folder: Path, minutes: float = 1.0, device: str = "cpu") -> Evening:
    return Evening(FOLDER.parents[1], folder, device, short=True, minutes=minutes)


def counted(name: str, seen: list[str], limit_s: float = 30.0, figures: Figures | None = None) -> Step:
    def run(_: Evening) -> Figures:
        seen.append(name)
        return figures or {}

    return Step(name, limit_s, run)


def waits(at: Evening) -> Figures:
    for _ in range(1000):
        at.wait(0.02)
    return {}


def test_each_result_is_kept_and_the_next_call_goes_on(tmp_path: Path) -> None:
    seen: list[str] = []

    def interrupted(_: Evening) -> Figures:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        at = evening(tmp_path)
        at.run([counted("one", seen), Step("two", 30, interrupted), counted("three", seen)], Results.open(at))
    at = evening(tmp_path)
    again = Results.open(at)
    assert list(again.steps) == ["one"] and again.missing == ["two", "three"]
    at.run([counted("one", seen), counted("two", seen), counted("three", seen)], again)
    assert seen == ["one", "two", "three"] and again.missing == [] and len(again.calls) == 2


def test_a_call_ends_in_time_and_says_what_it_did_not_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evening_run, "LEAST_S", 0.2)
    monkeypatch.setattr(evening_run, "RESERVE_S", 0.0)
    at = evening(tmp_path, minutes=0.5 / 60)
    results = Results.open(at)
    at.run([Step("long", 60, waits), counted("never", [])], results)
    assert results.missing == ["long", "never"]
    said = evening_table.ending(results, tmp_path)
    assert said.count("not reached") == 3 and "the same command goes on" in said
    assert "Not reached: long, never." in evening_table.text(results)


def test_a_step_over_its_own_limit_fails_and_the_next_one_runs(tmp_path: Path) -> None:
    at, seen = evening(tmp_path), []
    results = Results.open(at)
    at.run([Step("long", 0.3, waits), counted("next", seen)], results)
    assert results.steps["long"].state == "failed" and "limit of 0 s" in results.steps["long"].detail
    assert seen == ["next"]


def test_a_command_that_outlives_its_step_is_killed_with_its_session(tmp_path: Path) -> None:
    at = evening(tmp_path)
    results = Results.open(at)
    sleeper = ["-c", "import time; print('up', flush=True); time.sleep(60)"]
    at.run([Step("hangs", 1.5, lambda at: at.command(sleeper, log="hangs") and {})], results)
    assert results.steps["hangs"].state == "failed" and results.steps["hangs"].seconds < 10


def test_a_failure_is_kept_with_its_words(tmp_path: Path) -> None:
    def fails(_: Evening) -> Figures:
        raise StepFailed("the card said no")

    at = evening(tmp_path)
    results = Results.open(at)
    at.run([Step("fails", 30, fails)], results)
    assert (results.steps["fails"].state, results.steps["fails"].detail) == ("failed", "the card said no")
    assert "| fails | failed: the card said no |" in evening_table.text(results)


def test_results_of_other_code_are_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = evening(tmp_path)
    at.run([counted("one", [])], Results.open(at))
    monkeypatch.setattr(evening_results, "_commit", lambda _: "another")
    assert Results.open(at).steps == {}
    assert len(list(tmp_path.glob("results-*.json"))) == 1


def test_the_plan_has_every_part_and_fits_three_calls_of_ten_minutes(tmp_path: Path) -> None:
    steps = planned(evening(tmp_path, device="cuda"))
    names = [step.name for step in steps]
    assert names[:3] == ["doctor", "gpu selftest", "tests marked gpu"]
    for target in ("resnext", "efficientnet"):
        for way in ("eager", "compiled"):
            assert {name_of(target, way, 1), name_of(target, way, 2)} <= set(names)
    assert names[-4:] == [
        "study, one worker",
        "study, two workers",
        "programs that lack memory or compile",
        "a kill of everything",
    ]
    assert all(step.limit_s <= 500 for step in steps)


def test_figure_and_table_show_what_was_found(tmp_path: Path) -> None:
    at = evening(tmp_path)
    results = Results.open(at)
    speed: Figures = {"images_per_s": 7700.0, "images_per_s_together": 7700.0, "peak_vram_mb": 5482.5}
    faster: Figures = {**speed, "images_per_s": 10780.0, "compilation": "compiled in 20.1 s"}
    study: Figures = {"budget_s": 20.0, "trials_per_hour": 61.5, "overhead_p50_s": 7.5, "overlap_share": 0.9}
    at.run(
        [
            counted(name_of("resnext", "eager", 1), [], figures=speed),
            counted(name_of("resnext", "compiled", 1), [], figures=faster),
            counted("study, two workers", [], figures=study),
        ],
        results,
    )
    text = evening_table.text(results)
    assert "| resnext, compiled | 10,780 | 1.40 | - | - | 5,482 | compiled in 20.1 s |" in text
    assert "| study, two workers | 20.0 | 61.5 | 7.5 | 0.9 | - | - |" in text
    evening_figure.draw(results, tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as image:
        assert image.size[0] == evening_figure.WIDTH
        assert len(image.getcolors(1 << 20) or []) > 10
    evening_figure.draw(Results.open(evening(tmp_path / "empty")), tmp_path / "empty.png")


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="a card is here: what is said without one is not verified")
def test_without_a_card_it_says_how_to_try_it(tmp_path: Path) -> None:
    hidden = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(FOLDER.parents[1]), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(FOLDER), "--out", str(tmp_path / "out")],
        env=hidden,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "--device cpu --short" in done.stderr
    assert not (tmp_path / "out" / "results.json").exists()


def test_results_are_one_json_object(tmp_path: Path) -> None:
    at = evening(tmp_path)
    results = Results.open(at)
    at.run([counted("one", [])], results)
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["schema_version"] == 1 and stored["missing"] == []
    assert {"card", "driver", "torch", "commit", "device"} <= set(stored["about"])
