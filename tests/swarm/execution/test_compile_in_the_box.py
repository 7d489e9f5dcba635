"""A program that compiles, as a whole trial in the strict sandbox: forked from a warm process, and in a fresh one.

Minutes each, because a C++ compiler is at work. What can be said without: `tests/harness/test_harness_compile.py`.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.tiny_study import TRAIN

from swarm import sandbox
from swarm.admission import AdmissionController
from swarm.clock import SystemClock
from swarm.errors import SandboxError
from swarm.execution import phases
from swarm.execution.executor import MemoryEvidence, Outcome, Progress, TrialOrder
from swarm.execution.local import LocalExecutor
from swarm.gpu import detect_probe
from swarm.harness.prepare import prepare
from swarm.records import Budget, FailReason
from swarm.sandbox.ladder import require
from swarm.supervisor import Zygote
from swarm.supervisor.counter import CpuCounter
from swarm.trial.contract import code_root, harness_sha256
from swarm.trial.files import read_json
from swarm.trial.folder import TrialFolder

COMPILED = TRAIN.replace("    optimizer =", "    model = torch.compile(model, dynamic=False)\n    optimizer =").replace(
    "import torch.nn", "import torch\nimport torch.nn", 1
)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that shares its core with others may take longer than the three minutes of a first step."""
    monkeypatch.setattr(phases, "STALL_LIMIT_S", 240.0)


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    folder = tmp_path_factory.mktemp("zygote")
    started = Zygote.start("swarm.harness.preload", folder / "zygote.sock", pythonpath=(str(code_root()),))
    yield started
    started.stop()


def run(folder: Path, socket: Path | None, budget: Budget) -> tuple[Outcome, TrialFolder]:
    try:
        require(sandbox.probe())
    except SandboxError as error:
        pytest.skip(f"no strict sandbox here, a compiler in it is not verified: {error}")
    order = TrialOrder(
        study_id="s",
        trial_id="t0001",
        agent_id="worker_1",
        target="tiny",
        files={"train.py": COMPILED.encode()},
        editable="train.py",
        seed=1,
        budget=budget,
        rungs=(0.5,),
        device="cpu",
        threads=1,
        alone=True,
        sandbox="strict",
        harness_sha256=harness_sha256(),
        memory=MemoryEvidence(profile_mib=1200),
    )
    admission = AdmissionController(folder / "ledger", detect_probe("cpu"), SystemClock())
    data = prepare("standin").layout.root
    executor = LocalExecutor(folder / "trials", data, admission, SystemClock(), zygote=socket)
    running = executor.submit(order)
    while isinstance(outcome := running.poll(), Progress):
        time.sleep(0.05)
    return outcome, TrialFolder(folder / "trials" / "t0001")


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here: a compiled program is not verified")
@pytest.mark.parametrize("warm", [True, False], ids=["forked", "spawned"])
def test_a_compiled_program_trains_predicts_and_scores_in_the_strict_sandbox(
    tmp_path: Path, zygote: Zygote, warm: bool
) -> None:
    outcome, folder = run(
        tmp_path,
        zygote.socket_path if warm else None,
        Budget(kind="solo_seconds", amount=45, walltime_limit_s=800),  # half of it is the compiler's
    )
    assert outcome.score is not None, (outcome.detail, folder.log_text("train"))
    assert outcome.resources is not None
    if CpuCounter.of(0) is None:
        assert "start no compiler" in str(outcome.resources.compilation)
        return
    assert outcome.resources.compilation is None
    seconds = (read_json(folder.train_report) or {})["compile_seconds"]
    assert isinstance(seconds, float) and seconds > 1
    assert len(outcome.rungs) == 1


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here: a compiled program is not verified")
def test_on_a_cpu_the_compiler_uses_up_the_budget_and_never_passes_it(tmp_path: Path, zygote: Zygote) -> None:
    """A budget that is less than what g++ takes is gone before the first step: no score, and no work that others did
    not have."""
    budget = Budget(kind="solo_seconds", amount=2, walltime_limit_s=600)
    outcome, _ = run(tmp_path, zygote.socket_path, budget)
    assert outcome.score is None and outcome.reason in (FailReason.INVALID_OUTPUT, FailReason.OVER_BUDGET)


@pytest.mark.skipif(CpuCounter.of(0) is None, reason="no CPU time is counted here, so nothing may be compiled")
def test_where_images_are_counted_a_compiler_costs_the_score_and_is_named(tmp_path: Path, zygote: Zygote) -> None:
    budget = Budget(kind="samples", amount=3000, walltime_limit_s=600)
    outcome, _ = run(tmp_path, zygote.socket_path, budget)
    assert outcome.score is None and outcome.reason is FailReason.OVER_BUDGET
    assert "s of it for compiling, which is on the budget of a CPU" in outcome.detail
