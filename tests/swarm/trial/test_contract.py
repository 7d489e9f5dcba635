"""What both planes agree on: one hash for the trusted code, one for a program, and a config that survives its file."""

import json
import os
from pathlib import Path

import pytest

from swarm.trial import contract
from swarm.trial.config import TrialConfig, WorkBudget
from swarm.trial.contract import Phase, harness_sha256, program_sha256


@pytest.mark.parametrize("folder", ["harness", "trial"])
def test_the_hash_changes_with_content_and_with_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    for name in ("harness", "trial"):
        (tmp_path / "swarm" / name).mkdir(parents=True)
    monkeypatch.setattr(contract, "code_root", lambda: tmp_path)
    place = tmp_path / "swarm" / folder
    (place / "a.py").write_text("x")
    seen = {harness_sha256()}
    (place / "b.py").write_text("")
    seen.add(harness_sha256())
    (place / "b.py").rename(place / "c.py")
    seen.add(harness_sha256())
    (place / "a.py").write_text("y")
    seen.add(harness_sha256())
    assert len(seen) == 4


def test_the_trusted_code_is_where_the_phases_are_started_from() -> None:
    for phase in Phase:
        assert (contract.code_root() / phase.module.replace(".", "/")).with_suffix(".py").is_file()
    assert any(Path(contract.__file__).is_relative_to(folder) for folder in contract.harness_folders())


def test_a_program_is_what_python_could_load_of_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("x = 1")
    plain = program_sha256(tmp_path)
    (tmp_path / "notes.txt").write_text("no code")
    assert program_sha256(tmp_path) == plain
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "train.pyc").write_bytes(b"other code")
    assert program_sha256(tmp_path) != plain
    os.mkfifo(tmp_path / "pipe.py")
    assert program_sha256(tmp_path) not in ("", plain), "a pipe is named and never opened"


CONFIG = TrialConfig(
    trial_id="t0001",
    study_id="s",
    seed=3,
    device="cuda",
    threads=2,
    data_dir=Path("/data"),
    root=Path("/trials/t0001"),
    budget=WorkBudget("solo_seconds", 300.0),
    editable="train.py",
    memory_fraction=0.5,
    memory_cap_mib=12000,
    rungs=(0.25, 0.5),
    gate=Path("/gate"),
    program_sha256="ab",
)


def test_a_config_survives_its_file() -> None:
    assert TrialConfig.from_json(CONFIG.to_json()) == CONFIG


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("device", "tpu", "device is 'tpu'"),
        ("split", "train", "split"),
        ("threads", 0, "threads is 0"),
        ("seed", "one", "seed"),
        ("budget", {"kind": "epochs", "amount": 1}, "budget.kind is 'epochs'"),
        ("budget", {"kind": "samples", "amount": 0}, "budget.amount is 0"),
        ("budget", 3, "budget"),
        ("rungs", "all", "rungs"),
        ("other", 1, "other"),
    ],
)
def test_a_wrong_config_names_its_field(field: str, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TrialConfig.from_json(json.dumps({**json.loads(CONFIG.to_json()), field: value}))


@pytest.mark.parametrize("field", ["budget", "editable", "root", "trial_id"])
def test_a_missing_field_is_named(field: str) -> None:
    fields = json.loads(CONFIG.to_json())
    del fields[field]
    with pytest.raises(ValueError, match=field):
        TrialConfig.from_json(json.dumps(fields))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "7"])
def test_anything_else_is_no_config(text: str) -> None:
    with pytest.raises(ValueError):
        TrialConfig.from_json(text)
