"""A small graded target, and one trial of it as the local executor runs it."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from swarm.admission import AdmissionController
from swarm.clock import SystemClock
from swarm.execution.executor import MemoryEvidence, Outcome, Progress, Sandbox, TrialOrder
from swarm.execution.local import LocalExecutor
from swarm.gpu import CpuProbe
from swarm.records import Budget, Grading, Guard, Output, Shown, TargetTerms
from swarm.trial.contract import harness_sha256

LABELS = [(3 * number) % 17 / 17 for number in range(50)]

FIT = '''"""Guesses the number of each item from its input."""
import json

inputs = json.load(open("inputs/items.json"))
json.dump([0.5 for _ in inputs], open("outputs/guess.json", "w"))
'''

GRADE = """import json

guess = json.load(open("outputs/guess.json"))
true = json.load(open("private/labels.json"))
ok = isinstance(guess, list) and len(guess) == len(true) and all(isinstance(one, float) for one in guess)
errors = [(a - b) ** 2 for a, b in zip(guess, true)] if ok else []
json.dump(errors, open("errors.json", "w"))
metrics = {"mse": sum(errors) / len(errors), "worst": max(errors)} if ok else {}
print(json.dumps({"metrics": metrics, "valid": ok, "why": "a list of 50 floats is wanted", "per_item": "errors.json"}))
"""
HONEST_MSE = sum((0.5 - label) ** 2 for label in LABELS) / len(LABELS)

GRADING = Grading(
    run=("python", "fit.py"),
    grade=("python", "grade.py"),
    metric="mse",
    outputs=(Output(name="guess.json", type="json", max_bytes=10_000),),
    grade_limit_s=20,
)
TERMS = TargetTerms(
    grade="graded",
    editable=("*.py",),
    closed=("inputs", "private", "grading"),
    max_files=4,
    guards=(Guard(name="worst", op="<=", limit=1.0),),
    reports=(Shown(name="run.seconds", unit="s"),),
)


def files(fit: str = FIT) -> dict[str, bytes]:
    texts = {
        "fit.py": fit,
        "grading/grade.py": GRADE,
        "inputs/items.json": json.dumps(list(range(50))),
        "private/labels.json": json.dumps(LABELS),
    }
    return {path: text.encode() for path, text in texts.items()}


def graded_order(fit: str = FIT, **more: object) -> TrialOrder:
    values: dict[str, object] = {
        "study_id": "graded",
        "trial_id": "t0001",
        "agent_id": "worker_1",
        "target": "toy",
        "files": files(fit),
        "editable": "*.py",
        "terms": TERMS,
        "grading": GRADING.model_copy(update={"grade": ("python", "grading/grade.py")}),
        "seed": 1,
        "budget": Budget(kind="solo_seconds", amount=10, walltime_limit_s=20),
        "device": "cpu",
        "threads": 1,
        "harness_sha256": harness_sha256(),
        "memory": MemoryEvidence(profile_mib=600),
    }
    return TrialOrder.model_validate({**values, **more})


def run_graded(
    folder: Path, order: TrialOrder, sandbox: Sandbox = "auto", secrets: Mapping[str, str] | None = None
) -> Outcome:
    """To its end, in `folder`/trials. Nothing of it runs on."""
    executor = graded_executor(folder, secrets)
    running = executor.submit(order.model_copy(update={"sandbox": sandbox}))
    while isinstance(now := running.poll(), Progress):
        time.sleep(0.02)
    return now


def graded_executor(folder: Path, secrets: Mapping[str, str] | None = None) -> LocalExecutor:
    admission = AdmissionController(folder / "ledger", CpuProbe(), SystemClock())
    return LocalExecutor(folder / "trials", folder, admission, SystemClock(), secrets=secrets)
