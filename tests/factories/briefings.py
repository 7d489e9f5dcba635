"""Briefings and attempts written by hand, for proposers and the dispatcher."""

from typing import Any

from swarm.program.constants import assign, changed
from swarm.target.objective import Objective
from workers.briefing import Attempt, Briefing, ProgramView
from workers.proposers.spaces import values_of

PROGRAM = '''"""A program with constants of each kind."""

MAX_LR = 1e-2  # search: log(1e-4, 1e-1)
DROPOUT = 0.0  # search: linear(0, 0.4)
DEPTH = 3  # search: int(2, 6)
ACTIVATION = "relu"  # search: {"relu", "gelu", "silu"}
EMA = False  # search: {True, False}
CLASSES = 100


def build_model():
    return MAX_LR, DROPOUT, DEPTH, ACTIVATION, EMA


def main():
    build_model()
'''


def view(source: str = PROGRAM, trial_id: str = "t0001", loss: float | None = 2.0, **fields: Any) -> ProgramView:
    return ProgramView(trial_id=trial_id, source=source, cost=loss, replicates=1, constants=values_of(source), **fields)


def attempt(trial_id: str, values: dict[str, Any], loss: float | None = None, **fields: Any) -> Attempt:
    """A change of constants of PROGRAM, or of the program given as `base`."""
    base = fields.pop("base", PROGRAM)
    parent_loss = fields.pop("parent_loss", 2.0)
    source = assign(base, values)
    delta = loss - parent_loss if loss is not None and parent_loss is not None else None
    standing = "inconclusive" if delta is None or delta < 0 else "discarded"
    defaults: dict[str, Any] = {
        "trial_id": trial_id,
        "agent_id": "worker_1",
        "operator": "tune",
        "family": "optimiser",
        "description": f"set {values}",
        "parent": "t0001",
        "parent_cost": parent_loss,
        "constants": values_of(source),
        "changed": changed(base, source),
        "cost": loss,
        "replicates": 1,
        "delta": delta,
        "standing": "running" if loss is None else standing,
    }
    return Attempt.model_validate({**defaults, **fields})


def briefing(attempts: tuple[Attempt, ...] = (), **fields: Any) -> Briefing:
    defaults: dict[str, Any] = {
        "study_id": "s",
        "agent_id": "worker_1",
        "role": "climber",
        "program_text": "Lower the validation loss.",
        "editable": "train.py",
        "objective": Objective(),
        "read_seq": 10,
        "sigma": 0.01,
        "incumbent": view(),
        "attempts": attempts,
        "seed": 0,
    }
    return Briefing.model_validate({**defaults, **fields})
