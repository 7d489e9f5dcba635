"""A worker's side of a study: its name, its brain, and whether it may go on."""

import os
from collections.abc import Callable

from swarm.brain import Brain
from swarm.clock import Clock
from swarm.errors import SwarmError
from swarm.orchestrator.control import ORCHESTRATOR_VARIABLE, Control, read_control
from swarm.records import MAX_DESCRIPTION, ProposalClaimed, WorkerStatus, one_line
from swarm.study.settings import RunSettings
from swarm.study.state import BrainState, StudyState, Trial


class Session:
    """For one thread at a time, as its brain is. Made in the worker's process, whose parent is the orchestrator, or
    the shell of whoever started it by hand."""

    def __init__(self, settings: RunSettings, agent_id: str, brain: Brain, clock: Clock) -> None:
        self.settings = settings
        self.agent_id = agent_id
        self.brain = brain
        self.clock = clock
        # Told, since the orchestrator may be dead before this process has come so far as to ask for its parent.
        self._orchestrator_pid = int(os.environ.get(ORCHESTRATOR_VARIABLE) or os.getppid())

    def study(self) -> StudyState:
        """As the brain is now. Raises SwarmError when the study is not in it."""
        study = self.brain.snapshot().study(self.settings.study_id)
        if study is None:
            raise SwarmError(f"study {self.settings.study_id} is not in {self.settings.brain}")
        return study

    def claim(self, build: Callable[[BrainState], ProposalClaimed]) -> Trial:
        """The trial of the claim that `build` makes under the brain's lock; what `build` raises is raised."""
        record = self.brain.transact(lambda state: [build(state)])[0]
        assert isinstance(record, ProposalClaimed)
        return self.study().trials[record.trial_id]

    def status(self, status: str, text: str) -> None:
        self.brain.append(
            WorkerStatus.model_validate(
                {
                    "agent_id": self.agent_id,
                    "study_id": self.settings.study_id,
                    "status": status,
                    "description": one_line(text, MAX_DESCRIPTION),
                    "pid": os.getpid(),
                }
            )
        )

    def has_room(self, study: StudyState) -> bool:
        """Whether the study's limits and the person at the keyboard allow one more trial. The orchestrator says when
        time is up, as a person would: it alone knows how long the study has run if the machine's clock is set."""
        if self.orphaned() or read_control(self.settings.layout, self.settings.study_id) is not Control.RUN:
            return False
        return self.settings.trials is None or len(study.trials) < self.settings.trials

    def orphaned(self) -> bool:
        """Whether the orchestrator has gone."""
        return os.getppid() != self._orchestrator_pid

    def stop_reason(self) -> str | None:
        """Why a running trial has to end now."""
        now = read_control(self.settings.layout, self.settings.study_id) is Control.NOW
        return "stopped by the user" if now else None
