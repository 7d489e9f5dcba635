"""Settings of studies, as a test wants them: one line for what matters to it, defaults for the rest."""

from pathlib import Path
from typing import Any

from swarm.records import Budget
from swarm.study.settings import RunSettings

NOWHERE = Path("/nowhere")


def run_settings(root: Path = NOWHERE, **fields: Any) -> RunSettings:
    """The tiny target on the CPU, with one worker that has no proposer yet."""
    defaults: dict[str, Any] = {
        "study_id": "fake-study",
        "root": root,
        "brain": root / "swarm_brain.jsonl",
        "target": "tiny",
        "target_folder": "models/tiny",
        "editable": "train.py",
        "base_commit": "0" * 40,
        "program_text": "",
        "device": "cpu",
        "dataset": "standin",
        "data_dir": root / "data",
        "classes": 100,
        "budget": Budget(kind="samples", amount=3000, walltime_limit_s=60),
        "memory_mib": 1000,
        "threads": 1,
        "workers": 1,
        "seed": 0,
        "noise_replicates": 5,
        "trials": None,
        "deadline_at": None,
        "proposers": {},
        "harness_sha256": "",
    }
    return RunSettings.model_validate(defaults | fields)
