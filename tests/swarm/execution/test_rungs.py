"""Rungs of a running trial are scored by a trusted process, once each, and rubbish is passed over."""

from pathlib import Path

import numpy as np
import pytest

from swarm.execution.rungs import score_new_rungs
from swarm.trial.config import TrialConfig, WorkBudget
from swarm.trial.folder import TrialFolder


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    labels = np.random.default_rng(0).integers(0, 100, 1000).astype(np.uint8)
    data = tmp_path / "data"
    (data / "private").mkdir(parents=True)
    np.save(data / "private" / "rung_labels.npy", labels)
    folder = TrialFolder(tmp_path / "trial")
    folder.make()
    config = TrialConfig(
        trial_id="t0001",
        study_id="s",
        seed=1,
        device="cpu",
        threads=1,
        data_dir=data,
        root=folder.root,
        budget=WorkBudget("samples", 1),
        editable="train.py",
        rungs=(0.25, 0.5),
    )
    folder.config.write_text(config.to_json())
    return folder


def test_a_rung_is_scored_once(folder: TrialFolder) -> None:
    seen: set[int] = set()
    assert score_new_rungs(folder, seen) == []
    np.save(folder.taken_rung(25), np.zeros((1000, 100), np.float16))
    [(progress, loss)] = score_new_rungs(folder, seen)
    assert progress == 0.25
    assert loss == pytest.approx(np.log(100), abs=1e-4)
    assert score_new_rungs(folder, seen) == []


def test_rubbish_is_passed_over(folder: TrialFolder) -> None:
    folder.taken_rung(25).write_bytes(b"not an array")
    assert score_new_rungs(folder, set()) == []
