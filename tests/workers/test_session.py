"""A worker's side of a study: whether it may go on."""

import os
from pathlib import Path

import pytest
from factories.settings import run_settings

from swarm.brain import Brain
from swarm.clock import SystemClock
from workers.session import Session


def session(folder: Path) -> Session:
    return Session(run_settings(folder), "worker_1", Brain(folder / "swarm_brain.jsonl"), SystemClock())


def test_an_orchestrator_that_died_before_its_worker_asked_for_it_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker's parent is another process by then: a worker that believed it would go on for ever."""
    monkeypatch.setenv("SWARM_ORCHESTRATOR", str(os.getppid() + 1))
    assert session(tmp_path).orphaned()
    monkeypatch.setenv("SWARM_ORCHESTRATOR", str(os.getppid()))
    assert not session(tmp_path).orphaned()


def test_a_worker_that_was_started_by_hand_belongs_to_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SWARM_ORCHESTRATOR", raising=False)
    assert not session(tmp_path).orphaned()
