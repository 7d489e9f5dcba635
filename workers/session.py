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
from swarm.verdict import finals, slots
from swarm.verdict.plan import MOST_SLOTS


def search_is_open(study: StudyState, settings: RunSettings) -> bool:
    """Whether the study's limits leave room for one more trial of the search, finals aside that are held."""
    if settings.finals == "now":
        return False
    return slots.may_search(study, hold=settings.finals == "auto")


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
        """Whether the study's limits and the person at the keyboard allow one more trial, of the search or of the
        finals. The orchestrator says when time is up, as a person would: it alone knows how long the study has run if
        the machine's clock is set."""
        return self.may_search(study) or self.finals_slots(study) > 0

    def may_search(self, study: StudyState) -> bool:
        """Whether one more trial of the search may begin."""
        return self._asked() is Control.RUN and search_is_open(study, self.settings)

    def finals_slots(self, study: StudyState) -> int:
        """Slots of the finals that are open, or that begin once the search has ended; 0 for none."""
        if self.settings.finals == "off" or self._asked() not in (Control.RUN, Control.FINALS):
            return 0
        if (opened := finals.open_finals(study)) is not None:
            return opened.slots
        if self.settings.finals == "now":
            return slots.asked_for(study)
        return min(slots.slots_due(study), self._slots_in_time(study))

    def _slots_in_time(self, study: StudyState) -> int:
        """Those that end before the study's time is up."""
        workers, deadline_at = self.settings.workers, study.limits.deadline_at
        one = slots.seconds(study, 0, workers)
        if deadline_at is None or one is None:
            return MOST_SLOTS
        return max(0, int((deadline_at - self.clock.now()) / one - 1) * workers)

    def _asked(self) -> Control | None:
        """None when nobody asks any more."""
        return None if self.orphaned() else read_control(self.settings.layout, self.settings.study_id)

    def orphaned(self) -> bool:
        """Whether the orchestrator has gone."""
        return os.getppid() != self._orchestrator_pid

    def stop_reason(self) -> str | None:
        """Why a running trial has to end now."""
        now = read_control(self.settings.layout, self.settings.study_id) is Control.NOW
        return "stopped by the user" if now else None
