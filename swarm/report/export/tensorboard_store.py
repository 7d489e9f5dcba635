"""TensorBoard: a run each trial, with its curves, its result and the constants of its program as hparams.

A run is written beside its place and moved there whole: what is in its place is complete.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import summary_v2 as hparams
from tensorboard.plugins.scalar import summary_v2 as scalars
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from swarm.report.export.stores import Written
from swarm.report.export.trials import STEPS, ExportedTrial
from swarm.study.state import StudyState


def write(study: StudyState, trials: Sequence[ExportedTrial], folder: Path) -> Written:
    home = folder / "tensorboard" / study.study_id
    home.mkdir(parents=True, exist_ok=True)
    new = [trial for trial in trials if not (home / trial.row.trial_id).exists()]
    draft = folder / ".tensorboard"
    for trial in new:
        shutil.rmtree(draft, ignore_errors=True)  # of an export that was killed
        _write_run(study, trial, draft)
        draft.rename(home / trial.row.trial_id)
    return Written(len(new), len(trials) - len(new), home, f"tensorboard --logdir {folder / 'tensorboard'}")


def _write_run(study: StudyState, trial: ExportedTrial, draft: Path) -> None:
    writer = EventFileWriter(str(draft))
    at = trial.row.finished_at or 0.0
    for step, summary in _summaries(study, trial):
        writer.add_event(Event(wall_time=at, step=step, summary=summary))
    writer.close()


def _summaries(study: StudyState, trial: ExportedTrial) -> Iterator[tuple[int, Summary]]:
    yield 0, hparams.hparams_pb(dict(trial.constants), trial_id=trial.name, start_time_secs=trial.row.started_at)
    for tag, curve in (("training loss", trial.curve), ("rung loss", trial.rungs)):
        for step, loss in curve:
            yield step, scalars.scalar_pb(tag, loss)
    for name, number in trial.numbers.items():
        yield STEPS, scalars.scalar_pb(study.objective.key if name == "value" else name, number)
