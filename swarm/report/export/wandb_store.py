"""Weights & Biases: an offline run each trial, grouped by study. Nothing is sent: `wandb sync` does that.

The id of a run is made of study and trial, so that a run that is sent again stays one run there. A run is written
beside its place and moved there whole.
"""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import wandb

from swarm.report.export.stores import Written
from swarm.report.export.trials import ExportedTrial
from swarm.study.state import StudyState

_QUIET = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}


def write(study: StudyState, trials: Sequence[ExportedTrial], folder: Path) -> Written:
    home, draft = folder / "wandb", folder / ".wandb"
    home.mkdir(exist_ok=True)
    there = {_id_of(path.name) for path in home.glob("offline-run-*")}
    new = [trial for trial in trials if run_id(trial) not in there]
    os.environ.update(_QUIET)  # read when its service starts, as the settings below are not
    try:
        for trial in new:
            shutil.rmtree(draft, ignore_errors=True)  # of an export that was killed
            draft.mkdir()
            _write_run(study, trial, draft)
            (run,) = (draft / "wandb").glob("offline-run-*")
            run.rename(home / run.name)
    finally:
        wandb.teardown()  # its service is a process of its own
        shutil.rmtree(draft, ignore_errors=True)
    return Written(len(new), len(trials) - len(new), home, f"wandb sync {home}/offline-run-*")


def run_id(trial: ExportedTrial) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", trial.name)


def _id_of(folder: str) -> str:
    """Of offline-run-20261121_102827-ID."""
    return folder.removeprefix("offline-run-").partition("-")[2]


def _write_run(study: StudyState, trial: ExportedTrial, draft: Path) -> None:
    settings = wandb.Settings(
        console="off", disable_code=True, disable_git=True, save_code=False, silent=True, x_disable_meta=True,
        x_disable_stats=True, x_disable_machine_info=True,
    )  # fmt: skip
    config = {
        **{"started_at": trial.row.started_at, "finished_at": trial.row.finished_at, **trial.words},
        **{f"constant.{name}": value for name, value in trial.constants.items()},
    }
    with wandb.init(
        project=f"swarm-{study.opened.target}", group=study.study_id, job_type=trial.row.operator.value,
        name=trial.row.trial_id, id=run_id(trial), notes=trial.row.description, mode="offline", dir=str(draft),
        config=config, settings=settings, reinit="finish_previous",
    ) as run:  # fmt: skip
        losses = [{"training loss": loss, "per_mille": step} for step, loss in trial.curve]
        losses += [{"rung loss": loss, "per_mille": step} for step, loss in trial.rungs]
        for point in sorted(losses, key=lambda point: point["per_mille"]):
            run.log(point)
        for name, number in trial.numbers.items():
            run.summary[study.objective.key if name == "value" else name] = number
