"""Orders and the words of nodes."""

from swarm.execution.executor import MemoryEvidence, Outcome, Progress, Started, TrialOrder
from swarm.nodes.values import Beat, Card, Held, NodeFacts, Terms
from swarm.records import Budget, Score
from swarm.trial.contract import harness_sha256
from swarm.version import VERSION

STUDY = "study"


def order(trial_id: str = "t0001", **more: object) -> TrialOrder:
    values: dict[str, object] = {
        "study_id": STUDY,
        "trial_id": trial_id,
        "agent_id": "worker_1",
        "target": "tiny",
        "files": {"train.py": b"scores"},
        "editable": "train.py",
        "seed": 1,
        "budget": Budget(kind="samples", amount=640, walltime_limit_s=60),
        "device": "cpu",
        "threads": 1,
        "sandbox": "none",
        "harness_sha256": harness_sha256(),
        "memory": MemoryEvidence(profile_mib=1200),
    }
    return TrialOrder.model_validate({**values, **more})


def terms(**more: object) -> Terms:
    values: dict[str, object] = {
        "study_id": STUDY,
        "version": VERSION,
        "harness_sha256": harness_sha256(),
        "dataset": "standin",
        "data_sha256": "d",
        "device": "cpu",
    }
    return Terms.model_validate({**values, **more})


def facts(name: str = "a", **more: object) -> NodeFacts:
    values: dict[str, object] = {
        "name": name,
        "version": VERSION,
        "harness_sha256": harness_sha256(),
        "data_sha256": "d",
        "device": "cpu",
        "device_class": "some processor",
        "cores": 2,
        "pid": 1,
        "cards": (Card(name="CPU", total_mib=1000, free_mib=900),),
    }
    return NodeFacts.model_validate({**values, **more})


def beat(name: str = "a", *held: Held, wants: bool = True, **more: object) -> Beat:
    return Beat(facts=facts(name, **more), wants=wants, held=held)


def running(trial_id: str = "t0001", issue: int = 1) -> Held:
    started = Started(attempt=1, lease_id="l1", device_uuid="CPU-0", reservation_mib=1200, alone=False)
    return Held(trial_id=trial_id, issue=issue, progress=Progress(state="running", started=started))


def scored(trial_id: str = "t0001", issue: int = 1, loss: float = 2.0) -> Held:
    score = Score(validation_loss=loss, top1=0.5, top5=0.8, calibrated_loss=loss, rows=2)
    outcome = Outcome(score=score, started=running().progress.started)  # type: ignore[union-attr]
    return Held(trial_id=trial_id, issue=issue, outcome=outcome, losses=(loss, loss))
