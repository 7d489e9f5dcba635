"""Trials beside a study: what is run by a command of its own, one after the other, while no swarm runs here."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from swarm.admission import AdmissionController, default_root
from swarm.brain import Brain
from swarm.clock import Clock
from swarm.errors import SwarmError, UsageError
from swarm.execution.local import LocalExecutor
from swarm.gpu import detect_probe
from swarm.orchestrator.control import only_orchestrator
from swarm.orchestrator.settings_file import load_settings
from swarm.repo import Repo
from swarm.study.naming import study_named
from swarm.study.settings import Layout, RunSettings
from swarm.study.state import StudyState
from swarm.trial.contract import harness_sha256


@dataclass(frozen=True)
class Aside:
    """A study of this clone, and all that is needed to run a trial of it."""

    settings: RunSettings
    brain: Brain
    repo: Repo
    executor: LocalExecutor
    clock: Clock

    @property
    def study(self) -> StudyState:
        return self.brain.snapshot().studies[self.settings.study_id]


@contextlib.contextmanager
def beside(
    brain_path: Path | None, study_id: str | None, cwd: Path, clock: Clock, *, writes: bool = False
) -> Iterator[Aside]:
    """The study by its id or the beginning of it, the latest if None. A command that only reads takes the file as it
    is; one that writes puts it back from its second copy first, as a study does.

    Raises UsageError for a study that is not there or was not run in this clone, SwarmError while a swarm runs here and
    where the harness is another now.
    """
    repo = Repo.open(brain_path.absolute().parent if brain_path is not None else cwd)
    layout = Layout(root=repo.root)
    path = (brain_path or layout.brain).absolute()
    brain = Brain(path, clock=clock, kept=repo.kept_brain(path) if writes else None)
    settings = _settings(layout, study_named(brain.snapshot(), study_id, path, len(brain.skipped)))
    with only_orchestrator(layout) as reign:
        reign.announce(settings.study_id)
        executor = LocalExecutor(
            layout.trials(settings.study_id),
            settings.data_dir,
            AdmissionController(default_root(), detect_probe(settings.device), clock),
            clock,
        )
        yield Aside(settings, brain, repo, executor, clock)


def _settings(layout: Layout, study: StudyState) -> RunSettings:
    path = layout.settings(study.study_id)
    if not path.exists():
        raise UsageError(
            f"study {study.study_id} was not run in this clone ({path} is missing): ask in the one that ran it"
        )
    settings = load_settings(path)
    if settings.harness_sha256 != harness_sha256():
        raise SwarmError(
            f"the harness has changed since study {study.study_id} began, so a trial would not be the same. Check out "
            "the version that it ran with."
        )
    return settings
