"""What a candidate may write about itself: any of it gives an attempt and a record, and none of it an error."""

import json
from pathlib import Path

import pytest
from factories.records import finished

from swarm.brain import Brain
from swarm.execution.account import Note, Watch, resources_of
from swarm.execution.attempt import read_attempt, read_probe
from swarm.execution.evidence import Terms
from swarm.execution.executor import Started
from swarm.execution.memory import observed
from swarm.records import Budget, FailReason
from swarm.sandbox.policy import SandboxReport
from swarm.supervisor import PhaseResult, TrialResult
from swarm.trial.folder import TrialFolder

HUGE = 10**400
LOSS = {"validation_loss": 2.0, "top1": 0.1, "top5": 0.2, "calibrated_loss": 2.0, "rows": 5000}
NAMES = (
    "steps", "samples", "training_seconds", "wall_seconds", "loop_cpu_seconds", "off_clock_steps", "optimizer_steps",
    "peak_reserved_mib", "alloc_retries", "num_params_M", "solo_rate", "requested", "reserved", "allowed",
    "device_free", "passes_per_image", "curve", "overhead_s", "torch", "meter",
)  # fmt: skip
VALUES = (
    "0", "-1", str(HUGE), str(-HUGE), "9" * 6000, "1e308", "-1e308", "1e999", "NaN", "-Infinity", "true", "null",
    '"9"', '"\\ud800"', '"' + "x" * 90_000 + '"', "[" * 5000 + "]" * 5000, "[" * 90_000, "{}", "[[0.1, 1e308]]",
    "[" + "[0.1, 2.0]," * 9000 + "[1, 1]]", '{"a": ' * 900 + "1" + "}" * 900, '{"x": 1e308, "y": -1e308}',
)  # fmt: skip


def phase(name: str) -> PhaseResult:
    return PhaseResult(name, 0.0, 2.0, 1.0, 100.0, 0, None, "ok", ready_s=0.1, begun=True, own_cpu_s=0.5, own_s=1.0)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("kind", ["samples", "seconds", "solo_seconds"])
@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_every_number_of_a_report_may_be_anything(tmp_path: Path, value: str, kind: str, device: str) -> None:
    folder = TrialFolder(tmp_path / "t0001")
    folder.make()
    document = "{" + ", ".join(f'"{name}": {value}' for name in NAMES) + "}"
    for path in (folder.train_report, folder.oom_report, folder.predict_report):
        path.write_text(document, encoding="utf-8", errors="surrogatepass")
    folder.score.write_text(json.dumps(LOSS))
    folder.log("train").write_text("val_loss: 1e999\nval_loss: " + "9" * 5000 + "\n\x1b[2J\ud7ff")
    phases = tuple(map(phase, ("train", "stage", "predict", "score")))
    result = TrialResult("t0001", phases, SandboxReport("none"), 0.0, 9.0)
    terms = Terms(Budget(kind=kind, amount=10, walltime_limit_s=60), device, 1)  # type: ignore[arg-type]
    attempt = read_attempt(folder, result, terms)
    assert attempt.score is not None or attempt.reason is FailReason.OVER_BUDGET
    observed(attempt, over_reservation=False)
    read_probe(folder, result, terms)
    started = Started(attempt=1, lease_id="l", device_uuid="d", reservation_mib=1, alone=False)
    note = Note(started=started, device_name="d", reserved_by="probe", waited_s=0.0, probe_s=None)
    resources = resources_of(attempt, note, Watch(), 1)
    told = {
        "resources": resources,
        "curve": attempt.train.curve,
        "flags": attempt.flags,
        "detail": attempt.detail[:2000],
    }
    brain = Brain(tmp_path / "brain.jsonl")
    brain.append(finished("t0001", 2.0, **told))
    assert Brain(brain.path).skipped == () and Brain(brain.path).snapshot().seq == 1
