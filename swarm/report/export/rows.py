"""A study as a table for other tools: one row a finished trial, in the order in which they ended. Pure.

`tsv` has the five columns, and the words, of the `results.tsv` that such searches are commonly logged in; `csv` and
`jsonl` have everything that fits in a flat row. The column of the result is called after the objective. A number that
is not known is empty (null in jsonl) and never zero.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping

from pydantic import BaseModel, ConfigDict

from swarm.records import FailReason, Operator
from swarm.study.lineage import commit_of
from swarm.study.state import StudyState, Trial
from swarm.verdict.standing import Standing, standing_of_trial

_TSV_WORDS = {Standing.KEPT.value: "keep", Standing.DISCARDED.value: "discard", FailReason.CRASHED.value: "crash"}


class TrialRow(BaseModel):
    """One trial. `value` is the objective's, `delta` its change against the parent's mean, `status` why the trial
    failed or else the program's standing; memory in MiB, times in seconds."""

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
    value: float | None
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
    return [row_of(study, trial) for trial in study.finished_trials()]


def to_tsv(study: StudyState) -> str:
    lines = [("commit", study.objective.key, "memory_gb", "status", "description")]
    lines += [
        (
            (row.commit or "")[:7],
            "" if row.value is None else f"{row.value:.6f}",
            "" if row.peak_mib is None else f"{row.peak_mib / 1024:.1f}",
            _TSV_WORDS.get(row.status, row.status),
            row.description,
        )
        for row in trial_rows(study)
    ]
    return "".join("\t".join(line) + "\n" for line in lines)


def to_csv(study: StudyState) -> str:
    text = io.StringIO()
    columns = [study.objective.key if name == "value" else name for name in TrialRow.model_fields]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_named(study, row) for row in trial_rows(study))
    return text.getvalue()


def to_jsonl(study: StudyState) -> str:
    return "".join(json.dumps(_named(study, row), ensure_ascii=False) + "\n" for row in trial_rows(study))


EXPORTERS: Mapping[str, Callable[[StudyState], str]] = {"tsv": to_tsv, "csv": to_csv, "jsonl": to_jsonl}


def _named(study: StudyState, row: TrialRow) -> dict[str, object]:
    fields = row.model_dump(mode="json")
    return {study.objective.key if name == "value" else name: value for name, value in fields.items()}


def row_of(study: StudyState, trial: Trial) -> TrialRow:
    """Of a finished trial."""
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
        commit=commit_of(study, program),
        agent_id=claim.agent_id,
        operator=claim.operator,
        family=claim.family,
        proposer=claim.proposer,
        seed=finished.seed,
        status=str(trial.reason or standing_of_trial(study, trial)),
        value=finished.validation_loss,
        top1=score.top1 if score else None,
        top5=score.top5 if score else None,
        probability=verdict.probability if verdict else None,
        delta=study.objective.value(verdict.delta) if verdict else None,
        replicates=len(program.costs),
        peak_mib=used.peak_mib if used else None,
        wall_s=used.wall_s if used else None,
        training_s=used.training_s if used else None,
        waited_s=used.waited_s if used else None,
        started_at=trial.started.at if trial.started else None,
        finished_at=finished.at,
        description=claim.description,
    )
