"""A study as a table for other tools: one row a finished trial, in the order in which they ended. Pure.

`tsv` has the five columns of the `results.tsv` that such searches are commonly logged in; `csv` and `jsonl` have
everything that fits in a flat row. A number that is not known is empty (null in jsonl) and never zero.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping

from pydantic import BaseModel, ConfigDict

from swarm.records import FailReason, Operator, TrialState
from swarm.study.state import StudyState, Trial

TSV_COLUMNS = ("commit", "loss", "memory_gb", "status", "description")


class TrialRow(BaseModel):
    """One trial. Losses in nats, `delta` against the parent's mean, memory in MiB, times in seconds."""

    model_config = ConfigDict(frozen=True)

    study_id: str
    data: str
    trial_id: str
    program: str
    parent: str | None
    commit: str | None
    agent_id: str
    operator: Operator
    family: str
    proposer: str
    seed: int
    status: str
    validation_loss: float | None
    top1: float | None
    top5: float | None
    probability: float | None
    delta: float | None
    replicates: int
    peak_mib: int | None
    wall_s: float | None
    training_s: float | None
    waited_s: float | None
    started_at: float | None
    finished_at: float | None
    description: str


def trial_rows(study: StudyState) -> list[TrialRow]:
    return [_row(study, trial) for trial in study.finished_trials()]


def to_tsv(study: StudyState) -> str:
    rows = (
        {
            "commit": (row.commit or "")[:7],
            "loss": "" if row.validation_loss is None else f"{row.validation_loss:.6f}",
            "memory_gb": "" if row.peak_mib is None else f"{row.peak_mib / 1024:.1f}",
            "status": row.status,
            "description": " ".join(row.description.split()),
        }
        for row in trial_rows(study)
    )
    lines = ["\t".join(TSV_COLUMNS), *("\t".join(row[column] for column in TSV_COLUMNS) for row in rows)]
    return "\n".join(lines) + "\n"


def to_csv(study: StudyState) -> str:
    return _table(TrialRow.model_fields, (row.model_dump(mode="json") for row in trial_rows(study)))


def to_jsonl(study: StudyState) -> str:
    return "".join(row.model_dump_json() + "\n" for row in trial_rows(study))


EXPORTERS: Mapping[str, Callable[[StudyState], str]] = {"tsv": to_tsv, "csv": to_csv, "jsonl": to_jsonl}


def status_of(study: StudyState, trial: Trial) -> str:
    """keep, discard or inconclusive, baseline, the reason of a failure, or complete while nothing is concluded."""
    if trial.state is TrialState.FAILED and trial.reason is not None:
        return "crash" if trial.reason is FailReason.CRASHED else trial.reason.value
    program = study.program_of(trial.trial_id)
    if program is study.baseline:
        return "baseline"
    return program.verdict.decision.value if program.verdict is not None else trial.state.value


def _row(study: StudyState, trial: Trial) -> TrialRow:
    claim, finished = trial.claim, trial.finished
    assert finished is not None
    program = study.program_of(trial.trial_id)
    used, score, verdict = finished.resources, finished.score, program.verdict
    return TrialRow(
        study_id=study.study_id,
        data=study.opened.data,
        trial_id=trial.trial_id,
        program=program.name,
        parent=claim.parent,
        commit=finished.commit or trial.commit,
        agent_id=claim.agent_id,
        operator=claim.operator,
        family=claim.family,
        proposer=claim.proposer,
        seed=finished.seed,
        status=status_of(study, trial),
        validation_loss=trial.loss,
        top1=score.top1 if score else None,
        top5=score.top5 if score else None,
        probability=verdict.probability if verdict else None,
        delta=verdict.delta if verdict else None,
        replicates=len(program.losses),
        peak_mib=used.peak_mib if used else None,
        wall_s=used.wall_s if used else None,
        training_s=used.training_s if used else None,
        waited_s=used.waited_s if used else None,
        started_at=trial.started.at if trial.started else None,
        finished_at=finished.at,
        description=claim.description,
    )


def _table(columns: Iterable[str], rows: Iterable[Mapping[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
