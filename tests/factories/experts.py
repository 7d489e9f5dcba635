"""The mixture of experts as it is before its training, with made-up text: a target whose trials take a second."""

import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from swarm.execution.executor import MemoryEvidence, TrialOrder
from swarm.execution.prepared import read_prepared
from swarm.records import Budget
from swarm.target.file import Target, load_target
from swarm.trial.contract import code_root, harness_sha256

FOLDER = code_root() / "models" / "experts"
_NAMES = ("moe", "network", "make", "reading", "grade")
ROWS, WINDOW = 24, 64


@cache
def modules() -> dict[str, ModuleType]:
    """The target's own modules by name, imported as its commands import them; no other test sees their names."""
    kept, path = {name: sys.modules.pop(name, None) for name in _NAMES}, list(sys.path)
    sys.path[:0] = [str(FOLDER), str(FOLDER / "making"), str(FOLDER / "grading")]
    try:
        return {name: __import__(name) for name in _NAMES}
    finally:
        sys.path[:] = path
        for name, module in kept.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


@cache
def prepared() -> dict[str, bytes]:
    """What [prepare] leaves, of an untrained model."""
    import torch

    torch.manual_seed(1)
    text = np.random.default_rng(1).integers(32, 122, 40_000).astype(np.uint8)
    make: Any = modules()["make"]
    make.PUBLIC = 16
    hidden = {part: text[at : at + ROWS * (WINDOW + 1)].reshape(ROWS, -1) for part, at in (("val", 0), ("test", 9000))}
    with tempfile.TemporaryDirectory() as folder:
        make.make(Path(folder), make.arrays_of(modules()["network"].Mixture()), text, hidden)
        return read_prepared(Path(folder))


def target() -> Target:
    return load_target("experts", code_root())


def files(program: str | None = None) -> dict[str, bytes]:
    """The target's folder with what was prepared; `program` in the place of plan.py."""
    committed = {
        path.relative_to(FOLDER).as_posix(): path.read_bytes()
        for path in sorted(FOLDER.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    own = {"plan.py": program.encode()} if program is not None else {}
    return {**committed, **prepared(), **own}


def experts_order(program: str | None = None, **more: object) -> TrialOrder:
    loaded = target()
    values: dict[str, object] = {
        "study_id": "experts",
        "trial_id": "t0001",
        "agent_id": "worker_1",
        "target": loaded.name,
        "files": files(program),
        "editable": loaded.editable,
        "terms": loaded.terms,
        "grading": loaded.grading,
        "seed": 1,
        "budget": Budget(kind="solo_seconds", amount=20, walltime_limit_s=300),
        "device": "cpu",
        "threads": 1,
        "harness_sha256": harness_sha256(),
        "memory": MemoryEvidence(profile_mib=500),
    }
    return TrialOrder.model_validate({**values, **more})


def even_plan(count: int = 8, change: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
    """The first experts of each layer, none merged; `change` may spoil it."""
    plan: dict[str, Any] = {
        "layers": [{"experts": [[[expert, 1]] for expert in range(count)], "resident": []} for _ in range(3)]
    }
    if change is not None:
        change(plan)
    return plan
