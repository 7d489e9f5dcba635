"""Parquet: all finished trials in one file, the points of their curves in another. Both are written anew each time, so
that standings are those of now, and take the place of the old ones at once."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from swarm.records import Scalar
from swarm.report.export.rows import TrialRow
from swarm.report.export.stores import Written
from swarm.report.export.trials import ExportedTrial
from swarm.study.state import StudyState

_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64()}
_CURVES = pa.schema(
    [("trial_id", pa.string()), ("kind", pa.string()), ("step", pa.int64()), ("loss", pa.float64())]
)  # fmt: skip


def write(study: StudyState, trials: Sequence[ExportedTrial], folder: Path) -> Written:
    """`STUDY.parquet` has a column for each constant, `constant.NAME`; the result's is called after the objective."""
    path = folder / f"{study.study_id}.parquet"
    known = parquet.read_metadata(path).num_rows if path.exists() else 0
    _replace(_table(study, trials), path)
    points = [
        {"trial_id": trial.row.trial_id, "kind": kind, "step": step, "loss": loss}
        for trial in trials
        for kind, curve in (("training", trial.curve), ("rung", trial.rungs))
        for step, loss in curve
    ]
    _replace(pa.Table.from_pylist(points, schema=_CURVES), folder / f"{study.study_id}.curves.parquet")
    return Written(
        len(trials) - known, known, path, f"python -c \"import pandas; print(pandas.read_parquet('{path}'))\""
    )


def _table(study: StudyState, trials: Sequence[ExportedTrial]) -> pa.Table:
    rows = [trial.row.model_dump(mode="json") for trial in trials]
    columns: dict[str, pa.Array] = {}
    for name, field in TrialRow.model_fields.items():
        kind = next((kind for known, kind in _TYPES.items() if known.__name__ in str(field.annotation)), pa.string())
        title = study.objective.key if name == "value" else name
        columns[title] = pa.array([row[name] for row in rows], type=kind)
    for name in sorted({name for trial in trials for name in trial.constants}):
        columns[f"constant.{name}"] = _constants([trial.constants.get(name) for trial in trials])
    return pa.table(columns)


def _constants(values: Sequence[Scalar | None]) -> pa.Array:
    """As what they all are: truth values, whole numbers, numbers; as text where they differ."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool}:
        return pa.array(values, type=pa.bool_())
    if kinds <= {int}:
        return pa.array(values, type=pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], type=pa.float64())
    return pa.array([None if value is None else str(value) for value in values], type=pa.string())


def _replace(table: pa.Table, path: Path) -> None:
    draft = path.with_suffix(".new")
    parquet.write_table(table, draft)
    draft.replace(path)
