"""Which stores there are, and one way into each: once for each trial, however often it is asked for.

Each writer looks at what its store has of the study and adds the rest, so a killed export is finished by the next one.
A lock in the folder keeps two exports apart. No library of a store is imported before somebody asks for the store.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

from filelock import FileLock, Timeout

from swarm.errors import SwarmError
from swarm.report.export.trials import ExportedTrial, exported_trials
from swarm.study.state import StudyState

LOCK_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Written:
    """`added` trials are new in the store at `path`, `known` were there. `opened_with` is a command that shows it."""

    added: int
    known: int
    path: Path
    opened_with: str


Writer: TypeAlias = Callable[[StudyState, Sequence[ExportedTrial], Path], Written]

STORES: Mapping[str, str] = {
    "parquet": "a file of all trials and one of their curves",
    "tensorboard": "event files, a run each trial",
    "mlflow": "an experiment in mlflow.db, a run each trial",
    "wandb": "offline runs of Weights & Biases, to be sent with wandb sync",
    "optuna": "a study in optuna.log, for optuna-dashboard",
}
"""By the name of their extra, which is the name of their module too."""


def export_to(name: str, study: StudyState, texts: Mapping[str, str], folder: Path) -> Written:
    """Adds the finished trials that the store in `folder` does not have. `texts`: sources by program, where known.

    Raises SwarmError while another export into this folder goes on. The extra of this name must be installed.
    """
    writer: Writer = import_module(f"swarm.report.export.{name}_store").write
    trials = exported_trials(study, texts)
    try:
        with FileLock(own_folder(folder) / ".lock", timeout=LOCK_TIMEOUT_S, fallback_to_soft=False):
            return writer(study, trials, folder)
    except Timeout as error:
        raise SwarmError(f"another export into {folder} has gone on for {LOCK_TIMEOUT_S:g} s: wait for it") from error


def own_folder(folder: Path) -> Path:
    """The folder. One that is made here ignores itself, so that git shows nothing of it."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    return folder
