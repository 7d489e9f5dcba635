"""Rungs of a running trial are scored by a trusted process, once each, and rubbish is passed over."""

import json
from pathlib import Path

import numpy as np
import pytest

from swarm.execution import score_new_rungs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labels = np.random.default_rng(0).integers(0, 100, 1000).astype(np.uint8)
    data = tmp_path / "data"
    (data / "private").mkdir(parents=True)
    np.save(data / "private" / "rung_labels.npy", labels)
    trial = tmp_path / "trial"
    for name in ("train_out", "private"):
        (trial / name).mkdir(parents=True)
    config = {
        "trial_id": "t0001",
        "study_id": "s",
        "seed": 1,
        "device": "cpu",
        "threads": 1,
        "data_dir": str(data),
        "folder": str(trial),
        "budget": {"kind": "samples", "amount": 1},
        "split": "val",
        "memory_fraction": None,
        "memory_cap_mib": None,
        "rungs": [0.25, 0.5],
        "gate": None,
        "editable": "train.py",
    }
    (trial / "harness.json").write_text(json.dumps(config))
    return trial


def test_a_rung_is_scored_once(folder: Path) -> None:
    seen: set[int] = set()
    assert score_new_rungs(folder, seen) == []
    np.save(folder / "train_out" / "rung_25.npy", np.zeros((1000, 100), np.float16))
    [(progress, loss)] = score_new_rungs(folder, seen)
    assert progress == 0.25
    assert loss == pytest.approx(np.log(100), abs=1e-4)
    assert score_new_rungs(folder, seen) == []


def test_rubbish_is_passed_over(folder: Path) -> None:
    (folder / "train_out" / "rung_25.npy").write_bytes(b"not an array")
    (folder / "train_out" / "rung_x.npy").write_bytes(b"")
    assert score_new_rungs(folder, set()) == []
