"""Co-tenants of a GPU share a gate; a trial that is alone, or on a CPU, needs none."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from swarm.execution.executor import MemoryEvidence, TrialOrder
from swarm.execution.phases import gate_of, trial_phases
from swarm.records import Budget
from swarm.trial.folder import TrialFolder

UUID = "GPU-0"


@pytest.mark.parametrize(
    ("device", "alone", "shared"), [("cuda", False, True), ("cuda", True, False), ("cpu", False, False)]
)
def test_the_gate_is_one_file_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, alone: bool, shared: bool
) -> None:
    monkeypatch.setenv("SWARM_GPU_DIR", str(tmp_path))
    order = TrialOrder.model_validate(
        {
            **dict.fromkeys(("study_id", "trial_id", "agent_id", "target", "harness_sha256"), "x"),
            "files": {},
            "editable": "train.py",
            "seed": 1,
            "budget": Budget(kind="samples", amount=1, walltime_limit_s=1),
            "device": device,
            "threads": 1,
            "memory": MemoryEvidence(profile_mib=1),
        }
    )
    gate = gate_of(SimpleNamespace(device=UUID, alone=alone), order)  # type: ignore[arg-type] # two fields of a lease
    assert gate == (tmp_path / UUID / "gate" if shared else None)
    train, _, predict, _, _ = trial_phases(TrialFolder(tmp_path / "trial"), order, tmp_path / "data", gate)
    opened = {path for path in train.read if UUID in path}
    assert opened == ({str(gate), f"{gate}.turn"} if shared else set())
    assert all(Path(path).exists() for path in opened)
    assert set(train.gate) == set(predict.gate) == {path for path in predict.read if UUID in path} == opened
    assert not any(UUID in path for path in (*train.write, *predict.write))
