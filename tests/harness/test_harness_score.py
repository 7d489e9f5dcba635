"""The scorer: the formulas, and what a candidate may hand it."""

import json
import math
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from swarm.harness import score_phase, scoring
from swarm.harness.layout import CLASSES, Layout
from swarm.trial.config import TrialConfig, WorkBudget
from swarm.trial.contract import harness_sha256

ROWS, REPEATED = 200, 100


@pytest.fixture
def config(tmp_path: Path) -> TrialConfig:
    """A trial whose training and prediction are over: only the scorer is left to run."""
    layout = Layout(tmp_path / "data")
    (layout.root / "private").mkdir(parents=True)
    for part, rows in (("val", ROWS), ("rung", 50)):
        np.save(layout.labels(part), np.arange(rows, dtype=np.uint8) % CLASSES)
    config = TrialConfig(
        trial_id="t0001",
        study_id="test",
        seed=1,
        device="cpu",
        threads=1,
        data_dir=layout.root,
        root=tmp_path / "trial",
        budget=WorkBudget("samples", 10),
        split="val",
        rungs=(),
        editable="train.py",
    )
    config.folder.make()
    np.save(config.folder.image_order, np.random.default_rng(5).permutation(ROWS))
    np.save(config.folder.repeat_rows, np.random.default_rng(6).permutation(ROWS)[:REPEATED])
    return config


def hand_in(config: TrialConfig, logits: np.ndarray, again: np.ndarray | None = None) -> None:
    """What `predict` answers, and what `repeat` does: the same for the same image unless told otherwise."""
    np.save(config.folder.logits, logits, allow_pickle=logits.dtype == object)
    if again is None and len(logits) == ROWS:
        shown_as = {row: place for place, row in enumerate(np.load(config.folder.image_order).tolist())}
        again = logits[[shown_as[row] for row in np.load(config.folder.repeat_rows).tolist()]]
    if again is not None:
        np.save(config.folder.repeat_logits, again)


def run(config: TrialConfig) -> tuple[int, dict[str, object]]:
    path = config.folder.config
    path.write_text(config.to_json())
    code = score_phase.run(path)
    return code, json.loads(config.folder.score.read_text())


def test_perfect_and_constant_logits(config: TrialConfig) -> None:
    order = np.load(config.folder.image_order)
    labels = np.arange(ROWS) % CLASSES
    hand_in(config, (30 * np.eye(CLASSES)[labels[order]]).astype(np.float32))
    code, score = run(config)
    assert (code, score["top1"], score["top5"], score["rows"]) == (0, 1.0, 1.0, ROWS)
    assert score["validation_loss"] == pytest.approx(0.0, abs=1e-6)
    assert score["harness_sha256"] == harness_sha256()
    hand_in(config, np.zeros((ROWS, CLASSES), np.float32))
    code, score = run(config)
    assert (code, score["top1"], score["top5"]) == (0, 0.0, 0.0)
    assert score["validation_loss"] == pytest.approx(math.log(CLASSES), abs=1e-6)


def test_losses_are_saved_in_the_order_of_the_split(config: TrialConfig) -> None:
    order = np.load(config.folder.image_order)
    logits = np.random.default_rng(1).normal(size=(ROWS, CLASSES)).astype(np.float32)
    hand_in(config, logits[order])
    run(config)
    expected = scoring.cross_entropy(logits.astype(np.float64), np.arange(ROWS) % CLASSES)
    assert np.allclose(np.load(config.folder.losses), expected, atol=5e-3)


def test_cross_entropy_agrees_with_its_definition_and_does_not_overflow() -> None:
    logits = np.array([[1000.0, 0.0], [0.0, math.log(3.0)]])
    losses = scoring.cross_entropy(logits, np.array([1, 1]))
    assert losses == pytest.approx([1000.0, math.log(4 / 3)])


def test_calibrated_loss_undoes_a_wrong_temperature() -> None:
    random = np.random.default_rng(2)
    labels = random.integers(0, CLASSES, 2000)
    logits = random.normal(size=(2000, CLASSES)) + 3 * np.eye(CLASSES)[labels]
    right = scoring.calibrated_loss(logits, labels)
    assert scoring.fit_temperature(8 * logits, labels) == pytest.approx(
        8 * scoring.fit_temperature(logits, labels), rel=1e-3
    )
    assert scoring.calibrated_loss(8 * logits, labels) == pytest.approx(right, abs=1e-4)
    assert scoring.cross_entropy(8 * logits, labels).mean() > right + 0.5


@pytest.mark.parametrize("scale", [1e-3, 0.3, 1.0, 4.0, 100.0])
@pytest.mark.parametrize("known", [0.0, 1.5, 8.0])
def test_no_temperature_fits_better(scale: float, known: float) -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, CLASSES, 400)
    logits = scale * (2 * random.normal(size=(400, CLASSES)) + known * np.eye(CLASSES)[labels])
    others = np.exp(np.linspace(*scoring.LOG_TEMPERATURE_RANGE, 601))
    best = min(scoring.cross_entropy(logits / other, labels).mean() for other in others)
    fitted = scoring.fit_temperature(logits, labels)
    assert others[0] - 1e-9 <= fitted <= others[-1] + 1e-9
    assert scoring.cross_entropy(logits / fitted, labels).mean() <= best + 1e-9


def _nan() -> np.ndarray:
    logits = np.zeros((ROWS, CLASSES), np.float32)
    logits[3, 4] = np.nan
    return logits


@pytest.mark.parametrize(
    ("logits", "reason"),
    [
        (_nan(), "1 values that are not finite"),
        (np.full((ROWS, CLASSES), np.inf, np.float32), "not finite"),
        (np.zeros((ROWS, CLASSES - 1), np.float32), "has shape (200, 99)"),
        (np.zeros((ROWS - 1, CLASSES), np.float32), "has shape (199, 100)"),
        (np.zeros(ROWS * CLASSES, np.float32), "has shape (20000,)"),
        (np.zeros((ROWS * 3, CLASSES), np.float32), "limit"),
        (np.zeros((ROWS, CLASSES), np.float64), "limit"),
        (np.zeros((ROWS, CLASSES), np.int32), "expected float32 or float16"),
        (np.zeros((ROWS, CLASSES // 2), np.complex64), "expected float32 or float16"),
        (np.array([[1]], dtype=object), "not a plain array"),
    ],
)
def test_output_that_cannot_be_scored(config: TrialConfig, logits: np.ndarray, reason: str) -> None:
    hand_in(config, logits)
    code, score = run(config)
    assert code == 13
    assert reason in str(score["error"])
    assert "validation_loss" not in score
    assert not (config.folder.losses).exists()


@pytest.mark.parametrize(("changed", "code"), [(1, 0), (2, 13), (REPEATED, 13)])
def test_an_image_gets_one_answer_whatever_its_company(config: TrialConfig, changed: int, code: int) -> None:
    """One in a hundred may be on the edge of rounding; more than that is another answer."""
    logits = np.random.default_rng(1).normal(size=(ROWS, CLASSES)).astype(np.float32)
    hand_in(config, logits)
    again = np.load(config.folder.repeat_logits)
    again[:changed] *= 0.5
    hand_in(config, logits, again)
    found, score = run(config)
    assert found == code
    if code:
        assert str(score["error"]).startswith(f"{changed} of 100 images got another answer when they were shown again")


def test_rounding_is_no_other_answer(config: TrialConfig) -> None:
    logits = np.random.default_rng(1).normal(size=(ROWS, CLASSES)).astype(np.float32)
    hand_in(config, logits)
    hand_in(config, logits, np.load(config.folder.repeat_logits) + np.float32(1e-4) * np.eye(REPEATED, dtype="f4"))
    assert run(config)[0] == 0


def test_without_the_second_answers_there_is_no_score(config: TrialConfig) -> None:
    hand_in(config, np.zeros((ROWS, CLASSES), np.float32), np.zeros((REPEATED - 1, CLASSES), np.float32))
    assert run(config)[0] == 13
    config.folder.repeat_logits.unlink()
    assert run(config)[0] == 13


def test_files_that_are_no_files(config: TrialConfig, tmp_path: Path) -> None:
    path = config.folder.logits
    assert run(config)[0] == 13
    secret = tmp_path / "elsewhere.npy"
    np.save(secret, np.zeros((ROWS, CLASSES), np.float32))
    path.symlink_to(secret)
    assert run(config)[0] == 13
    path.unlink()
    os.mkfifo(path)
    code, score = run(config)
    assert (code, score["error"]) == (13, "logits.npy is not a plain file")
    path.unlink()
    path.write_bytes(pickle.dumps({"validation_loss": 0.0}))
    assert run(config)[0] == 13


def test_rung_is_scored_by_itself_and_a_bad_one_does_no_harm(config: TrialConfig) -> None:
    config = replace(config, rungs=(0.25, 0.5))
    np.save(config.folder.taken_rung(25), np.zeros((50, CLASSES), np.float16))
    np.save(config.folder.taken_rung(50), np.zeros((49, CLASSES), np.float16))
    hand_in(config, np.zeros((ROWS, CLASSES), np.float16))
    assert run(config)[0] == 0
    good, bad = (json.loads(config.folder.rung_score(percent).read_text()) for percent in (25, 50))
    assert good == {"progress": 0.25, "loss": pytest.approx(math.log(CLASSES), abs=1e-5), "top1": 0.0, "rows": 50}
    assert "has shape (49, 100)" in bad["error"]


def test_one_rung_may_be_scored_by_two_processes_at_once(config: TrialConfig) -> None:
    """As when the scorer of a rung is slow and the training ends meanwhile."""
    np.save(config.folder.taken_rung(50), np.zeros((50, CLASSES), np.float16))
    path = config.folder.config
    path.write_text(config.to_json())
    code = (
        "from pathlib import Path\nfrom swarm.harness import score_phase\n"
        f"assert not any(score_phase.run(Path({str(path)!r}), rung=50) for _ in range(150))"
    )
    command = [sys.executable, "-c", code]
    scorers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [scorer.communicate(timeout=100)[1] for scorer in scorers]
    assert [scorer.returncode for scorer in scorers] == [0, 0, 0], said
    assert json.loads(config.folder.rung_score(50).read_text())["rows"] == 50
    assert [file.name for file in config.folder.private.glob(".*")] == []
