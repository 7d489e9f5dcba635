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
from fakes.redteam_programs.known import (
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
from swarm.admission import AdmissionController
from swarm.clock import SystemClock
from swarm.execution.executor import MemoryEvidence, Outcome, Progress, TrialOrder
from swarm.execution.local import LocalExecutor
from swarm.gate import Refusal, check
from swarm.gpu import detect_probe
from swarm.harness.prepare import prepare
from swarm.records import Budget, FailReason, Score
from swarm.supervisor import PhaseResult, TrialResult, Zygote, kill_leftovers
from swarm.trial import contract
from swarm.trial.contract import Phase, code_root, harness_sha256
from swarm.trial.files import read_json
from swarm.trial.folder import TrialFolder

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
    folder: TrialFolder
    result: TrialResult

    @property
    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.logs.iterdir()))

    @property
    def told(self) -> dict[str, object]:
        """What the training said of itself."""
        return read_json(self.folder.train_report) or {}

    def phase(self, phase: Phase) -> PhaseResult:
        return next(found for found in self.result.phases if found.name == phase)

    @property
    def score(self) -> Score:
        assert self.outcome.score is not None, (self.outcome.detail, self.log)
        return self.outcome.score


class Arena:
    """A user's repository with a study in it. Each trial leaves nothing behind but its record, or the test fails."""

    def __init__(self, tiny: TinyStudy, socket: Path) -> None:
        self.tiny = tiny
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
        trials = self.tiny.root / ".swarm" / "trials" / STUDY
        order = self._order(
            program, seed, budget or Budget(kind="samples", amount=SAMPLES, walltime_limit_s=60), confined
        )
        executor = LocalExecutor(
            trials, self._data, self._admission, SystemClock(), zygote=self._socket if warm else None
        )
        before = (self.tiny.repo.fingerprint(), harness_sha256())
        running = executor.submit(order)
        while isinstance(outcome := running.poll(), Progress):
            time.sleep(0.02)
        folder = TrialFolder(trials / order.trial_id)
        assert kill_leftovers(folder.root) == []
        assert not folder.program.exists() and not folder.scratch.exists()
        if confined:
            assert (self.tiny.repo.fingerprint(), harness_sha256()) == before
        return Ran(outcome, folder, TrialResult.from_json(folder.result.read_text()))

    def _order(self, program: str, seed: int, budget: Budget, confined: bool) -> TrialOrder:
        """Alone on its device, so that it is not probed first."""
        return TrialOrder(
            study_id=STUDY,
            trial_id=f"t{self._trials:04}",
            agent_id="worker_1",
            target="tiny",
            files={"train.py": program.encode()},
            editable="train.py",
            seed=seed,
            budget=budget,
            device="cpu",
            threads=1,
            alone=True,
            sandbox="auto" if confined else "none",
            harness_sha256=harness_sha256(),
            memory=MemoryEvidence(profile_mib=1200),
        )


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    folder = tmp_path_factory.mktemp("redteam")
    path = (str(code_root()),)
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
    """Which wall it meets first depends on the machine: a file that is not there, or one that is denied."""
    ran = arena.run(attack.program)
    failed = ran.outcome.score is None
    assert (ran.outcome.reason is not None) == failed, ran.outcome.detail
    assert failed or ran.outcome.score == honest
    assert ran.outcome.detail or not failed
    if not failed and attack.reason is None:
        assert set(ran.outcome.flags) - {"denied"} == set(attack.flags) - {"denied"}, ran.log
    assert ran.outcome.sandbox == sandbox.probe().level
    assert "it worked" not in ran.log


@redteam
@pytest.mark.parametrize("how", WAYS_TO_THE_LABELS)
def test_without_the_sandbox_the_labels_would_be_read(arena: Arena, how: str) -> None:
    """The attacks have teeth: what stops them above is the sandbox, and a trial without one says so. Here they answer
    with the labels, and are found out only since they answer in the first order when they are asked again."""
    if how == "by_proc_parent_cwd" and os.getuid() != 0:
        pytest.skip("only root gets here without a sandbox: that this way has teeth is not verified")
    ran = arena.run(label_reader(how), confined=False)
    assert ran.outcome.score is None and "images got another answer" in ran.outcome.detail
    assert ran.outcome.sandbox == "none"


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
    used = ran.outcome.resources
    assert used is not None and used.samples is not None and used.samples > SAMPLES * 2
    assert (ran.outcome.score, ran.outcome.reason) == (None, FailReason.OVER_BUDGET)
    assert ran.outcome.flags == ("over_budget",)
    assert f"train reports {used.samples} of {SAMPLES} samples" in ran.outcome.detail


@redteam
def test_training_on_after_the_clock_is_named(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says 1 s; the supervisor has counted the CPU time of the tree."""
    budget = Budget(kind="solo_seconds", amount=1, walltime_limit_s=60)
    ran = arena.run(TRAINS_ON_AFTER_THE_CLOCK.replace("EXTRA", "4"), budget=budget)
    train = ran.phase(Phase.TRAIN)
    assert (ran.told["training_seconds"], train.cpu_seconds > 5) == (1.0, True)
    assert (ran.outcome.score, ran.outcome.reason) == (None, FailReason.OVER_BUDGET)
    assert ran.outcome.flags == ("over_budget",)
    counted = rf"reports 1.0 of 1 solo_seconds, .*took {train.own_cpu_s:.1f} CPU seconds \(limit [\d.]+\): let clock"
    assert re.search(counted, ran.outcome.detail)
    honest = arena.run(TRAIN, budget=budget)
    assert honest.outcome.flags == ()


@redteam
def test_training_on_for_ever_ends_at_the_limit_of_cpu_time(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarm.execution.phases.START_UP_CPU_S", 2.0)
    budget = Budget(kind="solo_seconds", amount=1, walltime_limit_s=60)
    outcome = arena.run(TRAINS_ON_AFTER_THE_CLOCK.replace("EXTRA", "600"), budget=budget).outcome
    assert (outcome.score, outcome.reason) == (None, FailReason.OVER_BUDGET)
    assert "train went on past its budget: killed after" in outcome.detail


@redteam
def test_work_in_predict_is_named(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(kind="solo_seconds", amount=1, walltime_limit_s=60)
    outcome = arena.run(TRAINS_IN_PREDICT.replace("EXTRA", "3"), budget=budget).outcome
    assert (outcome.score, outcome.reason) == (None, FailReason.OVER_BUDGET)
    assert outcome.flags == ("long_predict",)
    assert re.search(r"[\d.]+ CPU seconds in predict \(limit [\d.]+, by what an image costs", outcome.detail)


@redteam
def test_sleeping_in_predict_ends_at_its_limit(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarm.execution.phases.PREDICT_WALLTIME_S", 3.0)
    outcome = arena.run(SLEEPS_IN_PREDICT).outcome
    assert (outcome.score, outcome.reason) == (None, FailReason.TIMEOUT)
    assert "predict was killed at its walltime limit" in outcome.detail


@redteam
def test_a_tree_that_ignores_sigterm_ends_in_time(arena: Arena) -> None:
    ran = arena.run(NEVER_ENDS, budget=Budget(kind="samples", amount=SAMPLES, walltime_limit_s=3))
    assert (ran.outcome.score, ran.outcome.reason) == (None, FailReason.TIMEOUT)
    assert ran.result.phases[-1].seconds < 3 + 8


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
    shutil.copytree(code_root() / "swarm", tmp_path / "swarm", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(contract, "code_root", lambda: tmp_path)
    monkeypatch.setattr("swarm.execution.phases.code_root", lambda: tmp_path)
    program = EDITS_A_COPY_OF_THE_HARNESS.replace("COPY", str(tmp_path))
    outcome = arena.run(program, warm=False, confined=False).outcome
    assert (outcome.score, outcome.reason) == (None, FailReason.HARNESS_MODIFIED), outcome.detail
