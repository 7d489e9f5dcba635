"""Records of trials that never ran. Each takes the fields that matter to a test and fills in the others."""

from typing import Any

from swarm.records import (
    Budget,
    FailReason,
    Operator,
    ProposalClaimed,
    Resources,
    Score,
    StudyOpened,
    TrialFinished,
    TrialStarted,
    TrialState,
)


def study_opened(**fields: Any) -> StudyOpened:
    defaults: dict[str, Any] = {
        "study_id": "fake-study",
        "target": "resnext",
        "target_folder": "models/resnext",
        "editable": "train.py",
        "base_commit": "0" * 40,
        "base_tree_sha256": "1" * 64,
        "objective_sha256": "2" * 64,
        "harness_sha256": "3" * 64,
        "program_sha256": "4" * 64,
        "budget": Budget(kind="samples", amount=1000, walltime_limit_s=60),
        "data": "standin",
        "classes": 100,
        "device": "cpu",
        "device_name": "fake device",
        "workers": 2,
        "seed": 0,
        "noise_replicates": 2,
    }
    return StudyOpened.model_validate(defaults | fields)


def claim(trial_id: str = "", **fields: Any) -> ProposalClaimed:
    """A new program on t0001; a replicate where `program` names an earlier trial."""
    defaults: dict[str, Any] = {
        "agent_id": "worker_1",
        "trial_id": trial_id,
        "operator": Operator.TUNE,
        "family": "optimiser",
        "parent": "t0001",
        "program": trial_id,
        "tree_sha256": trial_id or "5" * 64,
        "seed": 1,
        "read_seq": 1,
        "proposer": "scripted",
    }
    return ProposalClaimed.model_validate(defaults | fields)


def started(trial_id: str, **fields: Any) -> TrialStarted:
    defaults: dict[str, Any] = {
        "trial_id": trial_id,
        "commit": trial_id,
        "reservation_mib": 1,
        "lease_id": f"lease-{trial_id}",
        "device_uuid": "fake",
    }
    return TrialStarted.model_validate(defaults | fields)


def finished(trial_id: str, loss: float | None, **fields: Any) -> TrialFinished:
    """Complete with this loss, or crashed when it is None."""
    defaults: dict[str, Any] = {
        "trial_id": trial_id,
        "state": TrialState.FAILED if loss is None else TrialState.COMPLETE,
        "reason": FailReason.CRASHED if loss is None else None,
        "score": None if loss is None else score(loss),
        "validation_loss": loss,
        "resources": Resources(device="cpu"),
        "seed": 1,
    }
    return TrialFinished.model_validate(defaults | fields)


def score(loss: float) -> Score:
    return Score(validation_loss=loss, top1=0.4, top5=0.7, calibrated_loss=loss, rows=5000)
