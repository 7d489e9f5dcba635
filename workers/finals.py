"""A worker's part in the finals: it begins them when the search has ended, runs what they owe, and ends them.

Whoever comes first does each of these; the brain's lock and the records' ids see to it that it happens once. Nothing is
remembered here, so that a killed study goes on with them where it was.
"""

from collections.abc import Callable

from swarm.records import FinalsOpened, Record
from swarm.study.state import BrainState, Program, StudyState
from swarm.verdict import PairedDifference, finals, paired_difference
from workers.session import Session


class Finals:
    def __init__(self, session: Session, losses: Callable[[str], list[float] | None]) -> None:
        """`losses` gives a trial's value for each item, where it left them."""
        self._session = session
        self._losses = losses

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
        return finals.close(study, opened, self._by_item(study, opened))

    def _by_item(self, study: StudyState, opened: FinalsOpened) -> PairedDifference | None:
        """The winner beside the baseline, where the study's noise is that of its items."""
        winner, base = finals.winner_of(study, opened), study.baseline
        if study.opened.terms.noise == "seeds" or winner is None or base is None:
            return None
        mine, theirs = (self._rows(study, program, opened.number) for program in (winner, base))
        return paired_difference(mine, theirs) if mine and theirs else None

    def _rows(self, study: StudyState, program: Program, number: int) -> list[list[float]]:
        trials = [one for one in program.trials if one.claim.finals == number and one.cost is not None]
        rows = (self._losses(trial.trial_id) for trial in trials)
        return [[study.objective.cost(value) for value in row] for row in rows if row is not None]

    def _of(self, state: BrainState) -> StudyState:
        return state.studies[self._session.settings.study_id]
