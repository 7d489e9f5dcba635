"""A study in numbers, for `swarm status`, the end of `swarm up`, and anything that reads `--json`. Pure."""

from collections.abc import Iterable
from statistics import fmean

from pydantic import BaseModel, ConfigDict

from swarm import verdict
from swarm.records import Grade, Operator, Scalar, TrialState
from swarm.study.caution import caution
from swarm.study.devices import device_of
from swarm.study.overlap import overlapping_pairs
from swarm.study.state import Program, StudyState
from swarm.target.objective import Objective
from swarm.verdict import early_stop, slots
from swarm.verdict.finals import deciding_costs
from swarm.verdict.standing import Standing, in_order, kept, standing

SCHEMA_VERSION = 2


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class ProgramRow(_Value):
    """One program's standing. `loss` is the objective's value, a mean over its replicates; `delta_baseline` that minus
    the baseline's."""

    rank: int
    program: str
    agent_id: str
    operator: Operator
    description: str
    loss: float
    replicates: int
    delta_baseline: float | None
    probability: float | None
    standing: Standing
    top1: float | None
    changed: dict[str, tuple[Scalar | None, Scalar | None]]


class WorkerRow(_Value):
    agent_id: str
    status: str
    trial_id: str | None
    trials: int
    restarts: int


class StudySummary(_Value):
    """The keys that say `loss` are as old as the brain's `validation_loss`: they hold the value of `objective`."""

    schema_version: int = SCHEMA_VERSION
    study_id: str
    target: str
    data: str
    grade: Grade = "sealed"
    caution: str | None = None
    objective: Objective
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
    false_prune_upper: float | None
    audited: int
    baseline_loss: float | None
    incumbent: str | None
    incumbent_loss: float | None
    overlapping_pairs: int
    kept: int
    held_for_finals: int
    ranking: tuple[ProgramRow, ...]
    workers: tuple[WorkerRow, ...]


def summarize(study: StudyState) -> StudySummary:
    """Everything that a person or a script asks of a study at a glance."""
    opened = study.opened
    trials = list(study.trials.values())
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    noise, prunes = verdict.study_noise(study), early_stop.false_prunes(study)
    baseline, incumbent = study.baseline, study.incumbent
    return StudySummary(
        study_id=study.study_id,
        target=opened.target,
        data=opened.data,
        grade=opened.terms.grade,
        caution=caution(opened.data, opened.terms.grade),
        objective=study.objective,
        device=device_of(study),
        budget=opened.budget.words,
        closed=study.closed.reason if study.closed else None,
        trials=len(trials),
        trials_wanted=study.limits.trials,
        running=sum(trial.state is TrialState.RUNNING for trial in trials),
        complete=len(complete),
        failed=_count(trial.reason for trial in trials if trial.reason is not None),
        refused=_count(rejection.code for rejection in study.rejections),
        vetoed=tuple(study.vetoes),
        noise_sigma=noise.sigma if noise is not None else None,
        noise_degrees=noise.degrees if noise is not None else 0,
        pruned=prunes.pruned,
        false_prune_rate=prunes.rate,
        false_prune_upper=prunes.upper if prunes.audited else None,
        audited=prunes.audited,
        baseline_loss=_value(study, baseline),
        incumbent=incumbent.name if incumbent else None,
        incumbent_loss=_value(study, incumbent),
        overlapping_pairs=sum(1 for _ in overlapping_pairs(trials)),
        kept=len(kept(study)),
        held_for_finals=slots.held_now(study),
        ranking=tuple(_row(study, program, rank) for rank, program in enumerate(in_order(study), 1)),
        workers=tuple(_worker(study, agent_id) for agent_id in sorted(study.workers)),
    )


def mean_top1(program: Program) -> float | None:
    """Over its scored trials."""
    scores = [trial.finished.score for trial in program.trials if trial.finished and trial.finished.score]
    known = [score.top1 for score in scores if score.top1 is not None]
    return fmean(known) if known else None


def _value(study: StudyState, program: Program | None) -> float | None:
    costs = deciding_costs(program) if program is not None else []
    return study.objective.value(fmean(costs)) if costs else None


def _row(study: StudyState, program: Program, rank: int) -> ProgramRow:
    claim = program.first.claim
    value, base = _value(study, program), _value(study, study.baseline)
    assert value is not None
    delta = value - base if base is not None and program is not study.baseline else None
    if program.verdict is not None and program.verdict.finals:  # beside the baseline of the finals, not an earlier one
        delta = study.objective.value(program.verdict.delta)
    return ProgramRow(
        rank=rank,
        program=program.name,
        agent_id=claim.agent_id,
        operator=claim.operator,
        description=claim.description,
        loss=value,
        replicates=len(deciding_costs(program)),
        delta_baseline=delta,
        probability=program.verdict.probability if program.verdict else None,
        standing=standing(study, program),
        top1=mean_top1(program),
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
