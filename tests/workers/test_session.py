"""May this worker go on? The study's limits, the person at the keyboard, and the orchestrator that started it."""

import os
from pathlib import Path

import pytest
from factories.records import study_opened
from factories.settings import run_settings
from fakes.fake_clock import FakeClock

from swarm.brain import Brain
from swarm.orchestrator.control import Control, write_control
from workers.session import Session


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1000.0)


def session(root: Path, clock: FakeClock | None = None, **fields: object) -> Session:
    clock = clock or FakeClock(1000.0)
    settings = run_settings(root, study_id="s", **fields)
    settings.layout.study("s").mkdir(parents=True, exist_ok=True)
    brain = Brain(settings.brain, clock)
    if brain.snapshot().study("s") is None:
        brain.append(study_opened(study_id="s", trials=settings.trials, deadline_at=settings.deadline_at))
    return Session(settings, "worker_1", brain, clock)


def test_no_trial_begins_beyond_their_number(tmp_path: Path, clock: FakeClock) -> None:
    one = session(tmp_path, clock, trials=0)
    assert not one.has_room(one.study())


@pytest.mark.parametrize("asked", [Control.DRAIN, Control.NOW])
def test_no_trial_begins_when_a_person_has_said_stop(tmp_path: Path, clock: FakeClock, asked: Control) -> None:
    one = session(tmp_path, clock)
    write_control(one.settings.layout, "s", asked)
    assert not one.has_room(one.study())
    assert (one.stop_reason() is not None) == (asked is Control.NOW)


def test_a_worker_whose_orchestrator_has_gone_begins_nothing(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = session(tmp_path, clock)
    assert not one.orphaned() and one.has_room(one.study())
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert one.orphaned() and not one.has_room(one.study())


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
