"""Hostile candidates as real trials, past the gate: no attack changes a score, none leaks, and the record names each.

Every trial runs the real phases on the stand-in data under the real supervisor. `make redteam` runs them; what the gate
says to the same programs is part of the default tests.
"""

import math
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.redteam_programs import (
    ATTACKS,
    CONSTANT_LOGITS,
    EDITS_A_COPY_OF_THE_HARNESS,
    NEVER_ENDS,
    OWN_SEED,
    READS_DESCRIPTORS,
    READS_ENVIRONMENTS,
    SLEEPS_IN_PREDICT,
    STRETCHES_THE_CLOCK,
    TRAINS_IN_PREDICT,
    TRAINS_ON_AFTER_THE_CLOCK,
    WAYS_TO_THE_LABELS,
    Attack,
    label_reader,
)
from fakes.tiny_study import TRAIN, TinyStudy, make_tiny_study

from swarm import sandbox
from swarm.admission import AdmissionController, Request
from swarm.clock import SystemClock
from swarm.execution import LocalExecutor, Outcome, TrialOrder, harness_root, harness_sha256
from swarm.gate import Refusal, check
from swarm.gpu import detect_probe
from swarm.harness.data import prepare
from swarm.records import Budget, FailReason, Score
from swarm.repo import Repo, trial_ref
from swarm.study.settings import RunSettings
from swarm.supervisor import Zygote, kill_leftovers

STUDY = "redteam"
SAMPLES = 3000
CANARY = "sk-canary-0123456789abcdef"
redteam = pytest.mark.redteam
needs_sandbox = pytest.mark.skipif(
    sandbox.probe().landlock_abi < 3 or not sandbox.probe().seccomp,
    reason=f"no full sandbox on this machine, so that attacks fail is not verified: {sandbox.probe().detail}",
)


@dataclass(frozen=True)
class Ran:
    outcome: Outcome
    log: str

    @property
    def score(self) -> Score:
        assert self.outcome.score is not None, (self.outcome.detail, self.log)
        return self.outcome.score


class Arena:
    """A user's repository with a study in it. Each trial leaves nothing behind but its record, or the test fails."""

    def __init__(self, tiny: TinyStudy, socket: Path) -> None:
        self.tiny = tiny
        self._repo = Repo.open(tiny.root)
        self._data = prepare("standin").layout.root
        self._admission = AdmissionController(tiny.ledger, detect_probe("cpu"), SystemClock())
        self._socket = socket
        self._trials = 0
        tiny.brain.write_text('{"agent_id": "user", "validation_loss": null, "description": "history"}\n')

    def run(
        self,
        program: str,
        *,
        seed: int = 1,
        confined: bool = True,
        warm: bool = True,
        budget: Budget | None = None,
    ) -> Ran:
        self._trials += 1
        settings = self._settings(budget or Budget(kind="samples", amount=SAMPLES, walltime_limit_s=60), confined)
        order = TrialOrder(f"t{self._trials:04}", self._commit(program), seed)
        executor = LocalExecutor(settings, self._repo, zygote=self._socket if warm else None, sleep=time.sleep)
        before = (self.tiny.repo.fingerprint(), harness_sha256())
        request = Request("worker_1", order.trial_id, STUDY, walltime_limit_s=60, memory_mib=1200)
        lease = self._admission.request(request).wait(cancelled=lambda: False)
        try:
            outcome = executor.run(order, lease, on_start=lease.bind, poll=lambda: None)
        finally:
            lease.release()
        folder = settings.layout.trial(STUDY, order.trial_id)
        assert kill_leftovers(folder) == []
        assert not (folder / "program").exists() and not (folder / "scratch").exists()
        if confined:
            assert (self.tiny.repo.fingerprint(), harness_sha256()) == before
        return Ran(outcome, "".join(path.read_text() for path in sorted((folder / "logs").iterdir())))

    def _commit(self, program: str) -> str:
        path, ref = "models/tiny/train.py", trial_ref(STUDY, f"t{self._trials:04}")
        return self._repo.commit_change(self._repo.head(), {path: program}, "a candidate", ref)

    def _settings(self, budget: Budget, confined: bool) -> RunSettings:
        return RunSettings(
            study_id=STUDY,
            root=self.tiny.root,
            brain=self.tiny.brain,
            target="tiny",
            target_folder="models/tiny",
            editable="train.py",
            base_commit=self._repo.head(),
            program_text="",
            device="cpu",
            dataset="standin",
            data_dir=self._data,
            classes=100,
            budget=budget,
            memory_mib=1200,
            threads=1,
            workers=1,
            seed=1,
            noise_replicates=3,
            trials=None,
            deadline_at=None,
            proposers={},
            sandbox="auto" if confined else "none",
            harness_sha256=harness_sha256(),
        )


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    folder = tmp_path_factory.mktemp("redteam")
    path = (str(harness_root().parent.parent),)
    zygote = Zygote.start("swarm.harness.preload", folder / "zygote.sock", pythonpath=path)
    yield Arena(make_tiny_study(folder), zygote.socket_path)
    zygote.stop()


@pytest.fixture(scope="module")
def honest(arena: Arena) -> Score:
    ran = arena.run(TRAIN)
    assert ran.outcome.flags == ()
    assert 3.0 < ran.score.validation_loss < 4.6
    return ran.score


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_the_gate_refuses_what_it_can_see(attack: Attack) -> None:
    answer = check(attack.program, TRAIN, [])
    assert (answer.code if isinstance(answer, Refusal) else None) == attack.gate, answer


def test_every_attack_gets_a_name() -> None:
    assert [name for name, attack in ATTACKS.items() if not attack.flags and attack.reason is None] == []


@redteam
@needs_sandbox
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_gains_nothing_and_is_named(arena: Arena, honest: Score, attack: Attack) -> None:
    ran = arena.run(attack.program)
    assert ran.outcome.reason is attack.reason, ran.outcome.detail
    assert ran.outcome.score == (None if attack.reason else honest)
    assert attack.detail in ran.outcome.detail
    assert ran.outcome.flags == attack.flags, ran.log
    assert ran.outcome.result.sandbox.level == "landlock+seccomp"
    assert "it worked" not in ran.log


@redteam
@pytest.mark.parametrize("how", WAYS_TO_THE_LABELS)
def test_without_the_sandbox_the_labels_would_be_read(arena: Arena, how: str) -> None:
    """The attacks have teeth: what stops them above is the sandbox, and a trial without one says so."""
    if how == "by_proc_parent_cwd" and os.getuid() != 0:
        pytest.skip("only root gets here without a sandbox: that this way has teeth is not verified")
    ran = arena.run(label_reader(how), confined=False)
    assert ran.score.validation_loss < 1e-6
    assert ran.score.top1 == 1.0
    assert ran.outcome.result.sandbox.level == "none"


@redteam
def test_constant_logits_are_worth_guessing_whatever_they_claim(arena: Arena) -> None:
    ran = arena.run(CONSTANT_LOGITS)
    assert ran.score.validation_loss == pytest.approx(math.log(100), abs=1e-5)
    assert (ran.score.top1, ran.outcome.flags) == (0.0, ("self_report",))


@redteam
def test_an_own_seed_does_not_make_two_replicates_one(arena: Arena, honest: Score) -> None:
    """The gate cannot see it. What it fixes is the first weights; the order of the images stays the harness's."""
    assert not isinstance(check(OWN_SEED, TRAIN, []), Refusal)
    ran = [arena.run(OWN_SEED, seed=seed) for seed in (1, 2)]
    first, second = (each.score.validation_loss for each in ran)
    assert first != second
    assert abs(first - honest.validation_loss) < 0.2
    assert [each.outcome.flags for each in ran] == [("own_seed",)] * 2


@redteam
def test_a_stretched_clock_is_named(arena: Arena) -> None:
    ran = arena.run(STRETCHES_THE_CLOCK)
    assert ran.outcome.train.samples is not None and ran.outcome.train.samples > SAMPLES * 2
    assert (ran.outcome.score, ran.outcome.reason) == (None, FailReason.OVER_BUDGET)
    assert ran.outcome.flags == ("over_budget",)
    assert f"train reports {ran.outcome.train.samples} of {SAMPLES} samples: let clock" in ran.outcome.detail


@redteam
def test_training_on_after_the_clock_is_named(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says 1 s; the supervisor has counted the CPU time of the tree."""
    monkeypatch.setattr("swarm.execution.outcome.START_UP_ALLOWANCE_S", 3.0)
    budget = Budget(kind="solo_seconds", amount=1, walltime_limit_s=60)
    ran = arena.run(TRAINS_ON_AFTER_THE_CLOCK.replace("EXTRA", "4"), budget=budget)
    train = next(phase for phase in ran.outcome.result.phases if phase.name == "train")
    assert (ran.outcome.train.training_seconds, train.cpu_seconds > 5) == (1.0, True)
    assert (ran.outcome.score, ran.outcome.reason) == (None, FailReason.OVER_BUDGET)
    assert ran.outcome.flags == ("over_budget",)
    counted = rf"reports 1.0 of 1 solo_seconds, {train.cpu_seconds:.1f} CPU seconds \(limit 4.2\): let clock"
    assert re.search(counted, ran.outcome.detail)
    honest = arena.run(TRAIN, budget=budget)
    assert honest.outcome.flags == ()


@redteam
def test_training_on_for_ever_ends_at_the_limit_of_cpu_time(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarm.execution.local.START_UP_CPU_S", 2.0)
    budget = Budget(kind="solo_seconds", amount=1, walltime_limit_s=60)
    outcome = arena.run(TRAINS_ON_AFTER_THE_CLOCK.replace("EXTRA", "600"), budget=budget).outcome
    assert (outcome.score, outcome.reason) == (None, FailReason.OVER_BUDGET)
    assert "train went on past its budget: killed after" in outcome.detail


@redteam
def test_work_in_predict_is_named(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarm.execution.outcome.START_UP_ALLOWANCE_S", 2.0)
    budget = Budget(kind="solo_seconds", amount=1, walltime_limit_s=60)
    outcome = arena.run(TRAINS_IN_PREDICT.replace("EXTRA", "3"), budget=budget).outcome
    assert (outcome.score, outcome.reason) == (None, FailReason.OVER_BUDGET)
    assert outcome.flags == ("long_predict",)
    assert re.search(r"[\d.]+ CPU seconds in predict \(limit 2.2: 25% of 1 solo_seconds, and 2\)", outcome.detail)


@redteam
def test_sleeping_in_predict_ends_at_its_limit(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarm.execution.local.PREDICT_WALLTIME_S", 3.0)
    outcome = arena.run(SLEEPS_IN_PREDICT).outcome
    assert (outcome.score, outcome.reason) == (None, FailReason.TIMEOUT)
    assert "predict was killed at its walltime limit" in outcome.detail


@redteam
def test_a_tree_that_ignores_sigterm_ends_in_time(arena: Arena) -> None:
    outcome = arena.run(NEVER_ENDS, budget=Budget(kind="samples", amount=SAMPLES, walltime_limit_s=3)).outcome
    assert (outcome.score, outcome.reason) == (None, FailReason.TIMEOUT)
    assert outcome.result.phases[-1].seconds < 3 + 8


@redteam
@pytest.mark.parametrize("confined", [True, False])
def test_no_descriptor_of_ours_is_inherited(arena: Arena, honest: Score, confined: bool) -> None:
    """From a process that holds the labels open for its children. Closing them does not need the sandbox."""
    labels = os.open(prepare("standin").layout.labels("val"), os.O_RDONLY)
    os.set_inheritable(labels, True)
    try:
        ran = arena.run(READS_DESCRIPTORS, warm=False, confined=confined)
    finally:
        os.close(labels)
    assert "No such file or directory: '/proc/self/fd/" in ran.log
    assert "LEAKED" not in ran.log
    assert (ran.score, ran.outcome.flags) == (honest, ("pried",))


@redteam
@needs_sandbox
def test_no_key_is_in_reach(arena: Arena, honest: Score) -> None:
    """Whoever else of this user holds one in its environment."""
    with subprocess.Popen(["sleep", "600"], env={"OPENAI_API_KEY": CANARY}) as holder:
        try:
            confined, free = (arena.run(READS_ENVIRONMENTS, confined=confined) for confined in (True, False))
        finally:
            holder.kill()
    assert CANARY not in confined.log and "nothing" in confined.log, "its own environment is its own"
    assert (confined.score, confined.outcome.flags) == (honest, ("denied", "pried"))
    assert CANARY in free.log


@redteam
def test_a_harness_that_changed_meanwhile_voids_the_score(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "swarm" / "harness"
    shutil.copytree(harness_root().parent, copy.parent, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("swarm.execution.harness.harness_root", lambda: copy)
    monkeypatch.setattr("swarm.execution.local.harness_root", lambda: copy)
    program = EDITS_A_COPY_OF_THE_HARNESS.replace("COPY", str(copy))
    outcome = arena.run(program, warm=False, confined=False).outcome
    assert (outcome.score, outcome.reason) == (None, FailReason.HARNESS_MODIFIED), outcome.detail
