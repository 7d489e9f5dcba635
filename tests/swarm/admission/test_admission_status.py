"""What `swarm gpu status` is told, and what becomes of entries without a living process."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import factories.admission
import pytest
from factories.admission import granted
from fakes.fake_clock import FakeClock
from fakes.steady_probe import CARD, RAM, SteadyProbe

from swarm.admission import AdmissionController, Observed, Request, status
from swarm.admission.ledger.entries import LeaseEntry
from swarm.admission.ledger.identity import boot_id, identify
from swarm.admission.policy.model import Hold
from swarm.cli.gpu import status_lines
from swarm.errors import AdmissionError

BUSY = SteadyProbe(replace(RAM, free_mib=15_000))


def controller(root: Path, clock: FakeClock) -> AdmissionController:
    return factories.admission.controller(root, clock, BUSY)


def ask(trial: str, memory_mib: int | None) -> Request:
    return factories.admission.ask(trial, memory_mib, walltime_limit_s=100.0, code_sha256=trial)


def test_status_names_holders_reasons_and_the_latest_start(tmp_path: Path) -> None:
    clock = FakeClock()
    mine = controller(tmp_path, clock)
    granted(mine.request(ask("t0", 9_000)))
    clock.advance(40)
    waiting = mine.request(ask("t1", 9_000))
    found = status(tmp_path, BUSY, clock)
    (device,) = found.devices
    (holder,) = device.holders
    (waiter,) = found.waiting
    assert (device.foreign_mib, device.committed_mib, device.room_mib) == (1_000, 9_000, 16_000 - 10_512)
    assert (holder.trial_id, holder.held_s, holder.ends_in_s, holder.hung) == ("t0", 40, 68, True)
    assert (waiter.trial_id, waiter.starts_within_s) == ("t1", 68)
    assert waiter.reason.startswith("the CPU cannot hold 9000 MiB: 16000 total, 9000 leased by trial t0 of worker_1")
    waiting.withdraw()


def test_status_publishes_how_often_predictions_were_too_small(tmp_path: Path) -> None:
    mine = controller(tmp_path, FakeClock())
    for trial, fails in (("t0", True), ("t1", False)):
        lease = granted(mine.request(ask(trial, None)))
        lease.release(Observed(peak_mib=500, out_of_memory=fails))
    found = status(tmp_path, BUSY)
    assert (found.observed_runs, found.under_prediction_rate) == (2, 0.5)


ME = identify(os.getpid())


def lease_entry(**changes: object) -> LeaseEntry:
    entry = LeaseEntry(
        hold=Hold("old", 15_000, ends_by_s=1e9),
        uuid="CPU-0",
        agent_id="worker_9",
        study_id="study",
        trial_id="t9",
        granted_s=0.0,
        heartbeat_s=0.0,
        holder=ME,
        boot=boot_id(),
    )
    return replace(entry, **changes)


@pytest.mark.parametrize(
    ("changes", "stale"),
    [
        ({}, True),  # nobody holds the lock
        ({"supervisor": ME}, False),  # it lives, without its descriptor
        ({"supervisor": replace(ME, starttime=1)}, True),  # the pid is used again
        ({"supervisor": ME, "boot": "another"}, True),
    ],
)
def test_entries_of_dead_processes_are_removed(tmp_path: Path, changes: dict[str, object], stale: bool) -> None:
    mine = controller(tmp_path, FakeClock())
    granted(mine.request(ask("t0", 100))).release()
    folder = tmp_path / "CPU-0" / "leases"
    (folder / "old.json").write_text(json.dumps(asdict(lease_entry(**changes))))
    (folder / "old.lock").touch()
    assert (mine.request(ask("t1", 10_000)).poll() is not None) == stale


@pytest.mark.parametrize("text", ["", "{", "[]", '{"lease_id": 1}', "\x00"])
def test_a_damaged_entry_is_no_entry(tmp_path: Path, text: str) -> None:
    mine = controller(tmp_path, FakeClock())
    granted(mine.request(ask("t0", 100))).release()
    folder = tmp_path / "CPU-0" / "leases"
    (folder / "bad.json").write_text(text)
    (folder / "bad.lock").touch()
    (tmp_path / "history.jsonl").write_text(text + "\n")
    (tmp_path / "CPU-0" / "device.json").write_text(text)
    assert mine.request(ask("t1", None)).poll() is not None


def test_a_ledger_that_cannot_be_written_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AdmissionError, match="Set SWARM_GPU_DIR"):
        controller(tmp_path / "file", FakeClock())


def test_a_file_system_without_exclusion_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: None)  # what a broken network file system does
    with pytest.raises(AdmissionError, match="does not exclude"):
        controller(tmp_path, FakeClock())


def test_each_card_is_shown_with_the_number_that_names_it(tmp_path: Path) -> None:
    cards = SteadyProbe(CARD, replace(CARD, uuid="GPU-b", lost=True, fault="NVMLError_GpuIsLost: GPU is lost"))
    first, second, _ = status_lines(status(tmp_path, cards, FakeClock()))
    assert first.startswith("GPU 0: Fake 4090 (GPU-a): ") and "NOT ANSWERING" not in first
    assert second.startswith("GPU 1: Fake 4090 (GPU-b): ") and "NOT ANSWERING: NVMLError_GpuIsLost" in second
    (only, _) = status_lines(status(tmp_path, SteadyProbe(CARD), FakeClock()))
    assert only.startswith("Fake 4090 (GPU-a): ")
