"""Co-tenants of a GPU share a gate; a trial that is alone, or on a CPU, needs none."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from test_calibrate import settings

from swarm.execution.local import gate_of, trial_phases

UUID = "GPU-0"


@pytest.mark.parametrize(
    ("device", "alone", "shared"), [("cuda", False, True), ("cuda", True, False), ("cpu", False, False)]
)
def test_the_gate_is_one_file_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, alone: bool, shared: bool
) -> None:
    monkeypatch.setenv("SWARM_GPU_DIR", str(tmp_path))
    chosen = settings().model_copy(update={"device": device})
    gate = gate_of(SimpleNamespace(device=UUID, alone=alone), chosen)  # type: ignore[arg-type] # two fields of a lease
    assert gate == (tmp_path / UUID / "gate" if shared else None)
    train, _, predict, _ = trial_phases(tmp_path / "trial", chosen, gate)
    opened = {path for path in train.read if UUID in path}
    assert opened == ({str(gate), f"{gate}.turn"} if shared else set())
    assert all(Path(path).exists() for path in opened)
    assert set(train.gate) == set(predict.gate) == {path for path in predict.read if UUID in path} == opened
    assert not any(UUID in path for path in (*train.write, *predict.write))
