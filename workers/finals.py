"""A worker's part in the finals: it begins them when the search has ended, runs what they owe, and ends them.

Whoever comes first does each of these; the brain's lock and the records' ids see to it that it happens once. Nothing is
remembered here, so that a killed study goes on with them where it was.
"""

from swarm.records import Record
from swarm.study.state import BrainState, StudyState
from swarm.verdict import finals
from workers.session import Session


class Finals:
    def __init__(self, session: Session) -> None:
        self._session = session

    def next(self) -> tuple[finals.Run | None, bool]:
        """A run that can be claimed now, and whether one may come when what runs now has ended."""
        while True:
            study = self._session.study()
            slots = self._session.finals_slots(study)
            if not slots:
                return None, False
            opened = finals.open_finals(study)
            if opened is not None:
                now = finals.where(study, opened)
                if now.owed:
                    return now.owed[0], True
                if now.waiting:
                    return None, True
                self._session.brain.transact(self._end)
            elif study.open_trials():
                return None, True
            elif not self._begun(slots):
                return None, False

    def _begun(self, slots: int) -> bool:
        """Begin them. False when there is nothing that they could decide."""
        if self._session.brain.transact(lambda state: self._begin(state, slots)):
            return True
        study = self._session.study()
        return finals.open_finals(study) is not None or bool(study.open_trials())  # another worker was quicker

    def _begin(self, state: BrainState, slots: int) -> list[Record]:
        study = self._of(state)
        if finals.open_finals(study) is not None or study.open_trials():
            return []
        begun = finals.begin(study, slots)
        return [begun] if begun is not None else []

    def _end(self, state: BrainState) -> list[Record]:
        study = self._of(state)
        opened = finals.open_finals(study)
        if opened is None or not finals.where(study, opened).done:
            return []
        return finals.close(study, opened)

    def _of(self, state: BrainState) -> StudyState:
        return state.studies[self._session.settings.study_id]
