"""Records of trials that never ran. Each takes the fields that matter to a test and fills in the others."""

from typing import Any

from swarm.records import (
    Budget,
    Decision,
    FailReason,
    FinalsClosed,
    FinalsOpened,
    FinalsRound,
    History,
    IncumbentChanged,
    Note,
    Operator,
    ProposalClaimed,
    ProposalRejected,
    Record,
    Resources,
    Score,
    Steer,
    StudyClosed,
    StudyOpened,
    TrialFinished,
    TrialStarted,
    TrialState,
    Usage,
    VerdictReached,
    WorkerStatus,
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


def example_records() -> dict[str, Record]:
    """One record of every kind, with its texts, lists and numbers filled in."""
    resources = Resources(
        device="cpu", torch="2", reserved_by="probe", overhead_s={"import": 1.0}, co_tenants=("t0009",)
    )
    usage = Usage(model="m", input_tokens=1, output_tokens=2, usd=0.5, seconds=1.0)
    common: dict[str, Any] = {"study_id": "s", "description": "words"}
    made: list[Record] = [
        study_opened(**common, version="1"),
        WorkerStatus(**common, status="training", trial_id="t0001", pid=1),
        claim(
            "t0002", **common, cites=("t0001",), nearest=("t0001",), warnings=("odd",), merged=("t0001",), arm="climb",
            constants_changed={"NAME": ("a", "b"), "LR": (0.1, 0.2)}, usage=usage, briefing_sha256="7" * 64,
        ),
        ProposalRejected(
            **common, code="syntax", detail="line 1\nline 2", operator=Operator.TUNE, family="loss", parent="t0001",
            cites=("t0001",), proposer="openai:m", arm="llm", usage=usage, repeats="t0001", briefing_sha256="7" * 64,
        ),
        started("t0002", **common),
        finished(
            "t0002", 1.5, **common, detail="d", resources=resources, sandbox="full", flags=("tta",), commit="8" * 40,
            curve=((0.5, 2.0),), rungs=((0.25, 2.5),), harness_sha256="3" * 64,
        ),
        VerdictReached(
            **common, trial_id="t0002", program="t0002", parent="t0001", decision=Decision.DISCARD, level="none",
            leads=False, probability=0.1, delta=0.1, sigma=0.1, replicates=1, parent_replicates=2, why="worse",
        ),
        IncumbentChanged(**common, program="t0002", previous="t0001", why="better"),
        FinalsOpened(
            **common, number=1, finalists=("t0002",), rounds=(FinalsRound(programs=1, runs=3),), slots=6, level=0.05
        ),
        FinalsClosed(
            **common, number=1, winner="t0002", kept=True, baseline_early=2.0, baseline_late=2.1, drift_p=0.5,
            why="better",
        ),
        Note(**common, topic="finding", trial_id="t0002", detail="a\nb"),
        Steer(**common, action="veto", subject="loss", value=1.0),
        StudyClosed(**common, reason="all trials done"),
        History(description="an old line", validation_loss=1.0),
    ]  # fmt: skip
    return {record.kind: record for record in made}
