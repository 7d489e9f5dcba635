"""A study in numbers, for `swarm status`, the end of `swarm up`, and anything that reads `--json`. Pure."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from swarm import verdict
from swarm.records import Operator, Scalar, TrialState
from swarm.study.state import Program, StudyState, overlapping_pairs
from swarm.verdict import early_stop

SCHEMA_VERSION = 1


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class ProgramRow(_Value):
    """One program's standing. Losses are means over its replicates, in nats; negative deltas are better."""

    rank: int
    program: str
    agent_id: str
    operator: Operator
    description: str
    loss: float
    replicates: int
    delta_baseline: float | None
    probability: float | None
    standing: str
    top1: float | None
    changed: dict[str, tuple[Scalar | None, Scalar | None]]


class WorkerRow(_Value):
    agent_id: str
    status: str
    trial_id: str | None
    trials: int
    restarts: int


class StudySummary(_Value):
    schema_version: int = SCHEMA_VERSION
    study_id: str
    target: str
    data: str
    device: str
    budget: str
    closed: str | None
    trials: int
    trials_wanted: int | None
    running: int
    complete: int
    failed: dict[str, int]
    refused: dict[str, int]
    vetoed: tuple[str, ...]
    noise_sigma: float | None
    noise_degrees: int
    pruned: int
    false_prune_rate: float | None
    baseline_loss: float | None
    incumbent: str | None
    incumbent_loss: float | None
    overlapping_pairs: int
    kept: int
    ranking: tuple[ProgramRow, ...]
    workers: tuple[WorkerRow, ...]


def summarize(study: StudyState) -> StudySummary:
    """Everything that a person or a script asks of a study at a glance."""
    opened = study.opened
    trials = list(study.trials.values())
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    noise, prunes = verdict.study_noise(study), early_stop.false_prune_rate(study)
    baseline, incumbent = study.baseline, study.incumbent
    return StudySummary(
        study_id=study.study_id,
        target=opened.target,
        data=opened.data,
        device=opened.device_name,
        budget=f"{opened.budget.amount:g} {opened.budget.kind}",
        closed=study.closed.reason if study.closed else None,
        trials=len(trials),
        trials_wanted=opened.trials,
        running=sum(trial.state is TrialState.RUNNING for trial in trials),
        complete=len(complete),
        failed=_count(trial.reason for trial in trials if trial.reason is not None),
        refused=_count(rejection.code for rejection in study.rejections),
        vetoed=tuple(study.vetoes),
        noise_sigma=noise.sigma if noise is not None else None,
        noise_degrees=noise.degrees if noise is not None else 0,
        pruned=prunes.pruned,
        false_prune_rate=prunes.rate,
        baseline_loss=baseline.mean if baseline else None,
        incumbent=incumbent.name if incumbent else None,
        incumbent_loss=incumbent.mean if incumbent else None,
        overlapping_pairs=sum(1 for _ in overlapping_pairs(trials)),
        kept=sum(program.kept for program in study.programs.values()),
        ranking=tuple(_row(study, program, rank) for rank, program in enumerate(study.ranked(), 1)),
        workers=tuple(_worker(study, agent_id) for agent_id in sorted(study.workers)),
    )


def standing(study: StudyState, program: Program) -> str:
    """One word for a program: baseline, kept, leading, discard, inconclusive, failed or running."""
    if program is study.baseline:
        return "baseline"
    if program.verdict is None:
        if program.open_trials:
            return "running"
        return "failed" if not program.losses else "unjudged"
    if program.kept:
        return "kept"
    return "leading" if program.name in study.lineage else str(program.verdict.decision)


def _row(study: StudyState, program: Program, rank: int) -> ProgramRow:
    claim = program.first.claim
    scores = [trial.finished.score for trial in program.trials if trial.finished and trial.finished.score]
    base = study.baseline.mean if study.baseline else None
    assert program.mean is not None
    return ProgramRow(
        rank=rank,
        program=program.name,
        agent_id=claim.agent_id,
        operator=claim.operator,
        description=claim.description,
        loss=program.mean,
        replicates=len(program.losses),
        delta_baseline=program.mean - base if base is not None and program is not study.baseline else None,
        probability=program.verdict.probability if program.verdict else None,
        standing=standing(study, program),
        top1=sum(score.top1 for score in scores) / len(scores) if scores else None,
        changed=claim.constants_changed,
    )


def _worker(study: StudyState, agent_id: str) -> WorkerRow:
    status = study.workers[agent_id]
    return WorkerRow(
        agent_id=agent_id,
        status=status.status,
        trial_id=status.trial_id,
        trials=sum(trial.claim.agent_id == agent_id for trial in study.trials.values()),
        restarts=study.restarts.get(agent_id, 0),
    )


def _count(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[str(name)] = counts.get(str(name), 0) + 1
    return counts
