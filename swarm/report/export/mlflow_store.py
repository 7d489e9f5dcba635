"""MLflow: an experiment a study, a run each trial, in mlflow.db (SQLite). Standings are tags, and follow the study."""

import logging
from collections.abc import Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run

from swarm.records import TrialState
from swarm.report.export.stores import Written
from swarm.report.export.trials import ExportedTrial
from swarm.study.state import StudyState

TRIAL = "swarm.trial"
_PAGE = 1000
_METRICS, _PARAMS = 1000, 100  # at most in one call
_ENDED = ("FINISHED", "FAILED", "KILLED")


def write(study: StudyState, trials: Sequence[ExportedTrial], folder: Path) -> Written:
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of each table that it makes
    logging.getLogger("alembic").setLevel(logging.WARNING)
    address = f"sqlite:///{folder.absolute() / 'mlflow.db'}"
    client = MlflowClient(address)
    experiment = _experiment(client, study, folder)
    there = _runs(client, experiment)
    new = [trial for trial in trials if trial.row.trial_id not in there]
    for trial in new:
        _add(client, experiment, study, trial)
    for trial in trials:
        run = there.get(trial.row.trial_id)
        if run is not None and run.data.tags.get("status") != trial.row.status:
            client.set_tag(run.info.run_id, "status", trial.row.status)
    return Written(len(new), len(trials) - len(new), folder / "mlflow.db", f"mlflow ui --backend-store-uri {address}")


def _experiment(client: MlflowClient, study: StudyState, folder: Path) -> str:
    found = client.get_experiment_by_name(study.study_id)
    if found is not None:
        return str(found.experiment_id)
    place = (folder.absolute() / "mlflow" / study.study_id).as_uri()
    tags = {"objective": study.objective.label, "better": study.objective.better, "data": study.opened.data}
    return str(client.create_experiment(study.study_id, artifact_location=place, tags=tags))


def _runs(client: MlflowClient, experiment: str) -> dict[str, Run]:
    """By trial. Half a run of an export that was killed is removed."""
    there, token = {}, None
    while True:
        page = client.search_runs([experiment], max_results=_PAGE, page_token=token)
        for run in page:
            trial = run.data.tags.get(TRIAL)
            if trial is not None and run.info.status in _ENDED:
                there[trial] = run
            elif trial is not None:
                client.delete_run(run.info.run_id)
        token = page.token
        if not token:
            return there


def _add(client: MlflowClient, experiment: str, study: StudyState, trial: ExportedTrial) -> None:
    row = trial.row
    started, ended = (int(1000 * (at or row.finished_at or 0.0)) for at in (row.started_at, row.finished_at))
    words = {TRIAL: row.trial_id, "status": row.status, "mlflow.note.content": row.description}
    words |= {name: text for name, text in trial.words.items() if name not in ("trial", "description")}
    run = client.create_run(experiment, start_time=started, tags=words, run_name=row.trial_id).info.run_id
    points = [("training_loss", trial.curve), ("rung_loss", trial.rungs)]
    metrics = [Metric(name, loss, ended, step) for name, curve in points for step, loss in curve]
    for name, number in trial.numbers.items():
        metrics.append(Metric(study.objective.key if name == "value" else name, number, ended, 0))
    params = [Param(name, str(value)) for name, value in trial.constants.items()]
    for start in range(0, len(metrics), _METRICS):
        client.log_batch(run, metrics=metrics[start : start + _METRICS])
    for start in range(0, len(params), _PARAMS):
        client.log_batch(run, params=params[start : start + _PARAMS])
    client.set_terminated(run, "FINISHED" if trial.state is TrialState.COMPLETE else "FAILED", end_time=ended)
