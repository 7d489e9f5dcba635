"""Trials on this machine: a place in the queue for memory, a process tree under a supervisor, and the wait for its end.

Not promised: that the work goes on if the machine goes down. A trial without a result is run again.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from swarm.admission import AdmissionController
from swarm.clock import Clock
from swarm.execution.account import read_notes
from swarm.execution.executor import Outcome, Progress, RunningTrial, TrialOrder
from swarm.execution.local_trial import LocalTrial, Machine, Steps
from swarm.supervisor import attach, kill_leftovers
from swarm.trial.folder import TrialFolder


class LocalExecutor:
    """Trials of one study on this machine, each in `<trials>/<trial id>/`."""

    def __init__(
        self,
        trials: Path,
        data_dir: Path,
        admission: AdmissionController,
        clock: Clock,
        *,
        zygote: Path | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """`zygote`: socket of a warm process that forks trials; None starts a fresh interpreter for each. `secrets`:
        taken out of the environment, and handed to graders that ask for them by name."""
        self._machine = Machine(trials, data_dir, admission, clock, zygote, secrets or {})

    def submit(self, order: TrialOrder) -> RunningTrial:
        trial = LocalTrial(self._machine, order)
        return _Stepwise(trial, trial.run())

    def adopt(self, trial_id: str) -> RunningTrial | None:
        folder = self._folder(trial_id)
        running = attach(folder.root)
        notes = read_notes(folder) if running is not None else None
        if running is None or notes is None:
            kill_leftovers(folder.root)
            return None
        trial = LocalTrial(self._machine, *notes)
        return _Stepwise(trial, trial.adopt(running))

    def losses(self, trial_id: str) -> list[float] | None:
        folder = self._folder(trial_id)
        try:
            if folder.items.exists():
                return [float(value) for value in json.loads(folder.items.read_text(encoding="utf-8"))]
            import numpy as np

            row: list[float] = np.load(folder.losses, allow_pickle=False).astype("float64").tolist()
        except (OSError, ValueError, ImportError):
            return None
        return row

    def drop_weights(self, trial_id: str) -> None:
        self._folder(trial_id).weights.unlink(missing_ok=True)

    def _folder(self, trial_id: str) -> TrialFolder:
        return self._machine.folder(trial_id)


class _Stepwise:
    """A RunningTrial made of steps: each `poll` takes one."""

    def __init__(self, trial: LocalTrial, steps: Steps) -> None:
        self._trial = trial
        self._steps = steps
        self._outcome: Outcome | None = None

    def poll(self) -> Progress | Outcome:
        if self._outcome is not None:
            return self._outcome
        try:
            return next(self._steps)
        except StopIteration as end:
            outcome: Outcome = end.value
            self._outcome = outcome
            return outcome

    def stop(self, reason: str) -> None:
        self._trial.stop_reason = self._trial.stop_reason or reason

    def detach(self) -> None:
        self._steps.close()
