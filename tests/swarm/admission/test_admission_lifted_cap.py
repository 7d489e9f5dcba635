"""A program that takes its memory cap off: seen, named in its record, and never again put beside others.

No GPU here: torch's answers about one are made up, and so are the driver's.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from factories.admission import ask, controller, granted
from fakes.fake_clock import FakeClock
from fakes.steady_probe import CARD, SteadyProbe

from swarm.admission import Observed
from swarm.admission.ledger.history import load_history
from swarm.execution.attempt import read_attempt
from swarm.execution.evidence import Terms
from swarm.gpu import ProcessUse
from swarm.harness.handin import memory_facts
from swarm.records import Budget
from swarm.sandbox.policy import SandboxReport
from swarm.supervisor import TrialResult
from swarm.trial.config import TrialConfig, WorkBudget
from swarm.trial.folder import TrialFolder

CAP_MIB, FRACTION = 7_600, 0.31


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.mark.parametrize(
    ("reserved_mib", "fraction", "lifted"),
    [(7_000, FRACTION, False), (7_650, FRACTION, False), (7_000, 1.0, True), (9_000, FRACTION, True)],
)
def test_the_harness_sees_a_raised_fraction_and_memory_above_the_cap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reserved_mib: int, fraction: float, lifted: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda *_: reserved_mib << 20)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda *_: reserved_mib << 20)
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda *_: {"num_alloc_retries": 0})
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda *_: fraction)
    config = TrialConfig(
        trial_id="t",
        study_id="s",
        seed=1,
        device="cuda",
        threads=1,
        data_dir=tmp_path,
        root=tmp_path,
        budget=WorkBudget("samples", 1),
        memory_fraction=FRACTION,
        memory_cap_mib=CAP_MIB,
        editable="train.py",
    )
    facts = memory_facts(torch.device("cuda"), config)
    assert (facts["cap_lifted"], facts["peak_reserved_mib"]) == (lifted, reserved_mib)


def test_the_record_names_it_and_the_score_stays(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    folder.make()
    folder.train_report.write_text(json.dumps({"cap_lifted": True, "peak_reserved_mib": 9000.4}))
    score = {"validation_loss": 2.0, "top1": 0.5, "top5": 0.8, "calibrated_loss": 2.0, "rows": 5000}
    folder.score.write_text(json.dumps(score))
    result = TrialResult("t0001", (), SandboxReport(level="none"), 0.0, 1.0)
    terms = Terms(Budget(kind="samples", amount=100, walltime_limit_s=60), "cuda", 1)
    outcome = read_attempt(folder, result, terms)
    assert outcome.score is not None
    assert (outcome.flags, outcome.peak_mib) == (("cap_lifted",), 9000)


def test_the_code_and_its_children_run_alone_from_then_on(tmp_path: Path, clock: FakeClock) -> None:
    mine = controller(tmp_path, clock)
    lifter = granted(mine.request(ask("t0", None, code_sha256="lifter", profile_mib=7_000)))
    assert not lifter.alone
    lifter.release(Observed(peak_mib=9_000, cap_lifted=True))
    clock.advance(11)
    (lesson,) = load_history(tmp_path / "history.jsonl").records
    assert (lesson.peak_mib, lesson.too_small, lesson.cap_lifted) == (9_000, True, True)
    beside = granted(mine.request(ask("t1", 4_000)))
    for code, parents in (("lifter", ()), ("child", ("lifter",))):
        ticket = mine.request(ask("t2", None, code_sha256=code, parents=parents, profile_mib=7_000))
        assert ticket.poll() is None, "there is room, but not beside somebody"
        ticket.withdraw()
    assert mine.request(ask("t3", None, code_sha256="other", profile_mib=7_000)).poll() is not None
    beside.release()


def test_a_child_that_has_run_without_lifting_is_trusted_again(tmp_path: Path, clock: FakeClock) -> None:
    mine = controller(tmp_path, clock)
    granted(mine.request(ask("t0", code_sha256="lifter"))).release(Observed(peak_mib=9_000, cap_lifted=True))
    clock.advance(11)
    granted(mine.request(ask("t1", code_sha256="child"))).release(Observed(peak_mib=5_000))
    child = ask("t2", None, code_sha256="child", parents=("lifter",))
    assert not mine.predict(child).alone


def test_memory_around_the_allocator_is_learnt_as_the_driver_saw_it(tmp_path: Path, clock: FakeClock) -> None:
    use = ProcessUse(os.getpid(), 8_100)
    mine = controller(tmp_path, clock, SteadyProbe(replace(CARD, free_mib=16_000, processes=(use,))))
    lease = granted(mine.request(ask("t0", code_sha256="aa")))
    lease.bind(os.getpid())
    assert lease.poll() is None
    lease.release(Observed(peak_mib=5_000))
    (lesson,) = load_history(tmp_path / "history.jsonl").records
    assert lesson.peak_mib == 8_100 - 600


def test_a_ledger_written_before_caps_were_watched_is_read(tmp_path: Path) -> None:
    old = {"code_sha256": "aa", "peak_mib": 5, "reservation_mib": 6, "predicted_mib": 5, "source": "given"}
    (tmp_path / "history.jsonl").write_text(json.dumps({**old, "too_small": False, "device": "x"}) + "\n")
    (lesson,) = load_history(tmp_path / "history.jsonl").records
    assert not lesson.cap_lifted
