"""Two studies of two repositories, started as a user starts them, on one machine."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.tiny_study import make_tiny_study, stopped_at_the_end

from swarm.admission import status
from swarm.gpu import CpuProbe, host_limits


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_swarm_up_share_one_ledger(tmp_path: Path) -> None:
    """Each has as many workers as there are CPU slots: together twice as many as may train at once."""
    slots = host_limits().cpu_slots
    first = make_tiny_study(tmp_path / "one", samples=20_000)
    second = replace(make_tiny_study(tmp_path / "two", samples=20_000), ledger=first.ledger)
    limits = ("--workers", str(slots), "--trials", str(2 * slots))
    most, together, blamed = 0, False, False
    one, two = first.start(*limits), second.start(*limits)
    with stopped_at_the_end(one), stopped_at_the_end(two):
        while one.poll() is None or two.poll() is None:
            seen = status(first.ledger, CpuProbe())
            holders = [holder for device in seen.devices for holder in device.holders]
            most = max(most, len(holders))
            together = together or len({holder.study_id for holder in holders}) == 2
            blamed = blamed or any(
                waiter.study_id != holder.study_id and f"trial {holder.trial_id} of {holder.agent_id}" in waiter.reason
                for waiter in seen.waiting
                for holder in holders
            )
            time.sleep(0.1)
    assert (one.returncode, two.returncode) == (0, 0)
    assert most == slots, "never more leases than slots, whoever asked"
    assert together, "both studies held a lease at the same time"
    assert blamed, "a trial of one waited for a trial of the other, and was told so"
    for tiny in (first, second):
        endings = [trial.finished for trial in tiny.study().trials.values()]
        assert len(endings) == 2 * slots and all(ending is not None and ending.score for ending in endings)
        assert tiny.processes() == []
    assert first.held_leases() == []
