"""What follows the search of a running study: its finals, how many runs and how long, and when they have to begin."""

from collections.abc import Callable
from dataclasses import dataclass

from swarm.clock import Clock
from swarm.orchestrator.control import Control
from swarm.records import MAX_DESCRIPTION, Note
from swarm.study.settings import RunSettings
from swarm.study.state import StudyState
from swarm.verdict import plan, slots
from swarm.verdict.finals import open_finals, where
from swarm.verdict.plateau import PLATEAU, Plateau, plateau
from swarm.verdict.replication import contenders

SHARE_OF_TIME = 0.2
LOOK_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Ahead:
    """So many runs of finals, and about so many seconds; None before a trial has shown how long one takes."""

    runs: int
    seconds: float | None

    def __str__(self) -> str:
        if self.seconds is None:
            return f"{self.runs} runs"
        return f"{self.runs} runs, about {max(1, round(self.seconds / 60))} min"


def finals_ahead(study: StudyState, settings: RunSettings) -> Ahead | None:
    """The finals that follow if the search ends now, or what is left of those that are open; None for none."""
    if settings.finals == "off":
        return None
    opened = open_finals(study)
    if opened is not None:
        left = plan.runs(opened.rounds) - sum(
            trial.claim.finals == opened.number and trial.finished is not None for trial in study.trials.values()
        )
        runs = max(left, len(where(study, opened).owed))
    else:
        asked = slots.asked_for(study) if settings.finals == "now" else slots.slots_due(study)
        runs = plan.runs(plan.rounds(asked, len(contenders(study))))
    return Ahead(runs, slots.seconds(study, runs, settings.workers)) if runs else None


class Foresight:
    """The study's time. Looks at the study every few seconds only, since that costs a walk over it."""

    def __init__(self, settings: RunSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._deadline_at: float | None = None
        self._ends_at: float | None = None
        self._bound(settings.deadline_at)
        self._trials: int | None = settings.trials
        self._look_at = 0.0
        self._told = False
        self.ahead: Ahead | None = None  # the finals that follow
        self.plateau: Plateau | None = None  # what ended the search, if that did

    def time_is_up(self) -> bool:
        return self._ends_at is not None and self._clock.monotonic() >= self._ends_at

    def word(self, study_now: Callable[[], StudyState | None], asked: Control) -> Control | None:
        """What the time wants of a study that was asked for this: the end of its search, so that its finals still fit,
        then the end of all. None: nothing else than was asked."""
        must_begin = self._must_begin(study_now)
        if self.time_is_up() and asked in (Control.RUN, Control.FINALS):
            return Control.DRAIN
        return Control.FINALS if must_begin and asked is Control.RUN else None

    def gave_more(self, study: StudyState | None) -> bool:
        """Whether a person has raised the number of trials since this was asked last."""
        if study is None or (now := study.limits.trials) == self._trials:
            return False
        before, self._trials = self._trials, now
        return before is not None and (now is None or now > before)

    def finding(self) -> list[Note]:
        """What a plateau rests on, for the record; once."""
        if self.plateau is None or self._told:
            return []
        self._told = True
        return [Note(study_id=self._settings.study_id, topic=PLATEAU, description=str(self.plateau)[:MAX_DESCRIPTION])]

    def _must_begin(self, study_now: Callable[[], StudyState | None]) -> bool:
        """Whether the search is at a plateau, or the time that is left is what the finals take, or a fifth of all if
        that is less."""
        now = self._clock.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_EVERY_S
        study = study_now()
        if study is not None and study.limits.deadline_at != self._deadline_at:  # a person has changed it
            self._bound(study.limits.deadline_at)
        self.ahead = finals_ahead(study, self._settings) if study is not None else None
        asks = self._settings.stop_at_plateau and self._settings.finals != "now"
        if study is not None and asks and self.plateau is None:
            self.plateau = plateau(study)
        if self.plateau is not None:
            return True
        if study is None or self._ends_at is None or self.ahead is None or self.ahead.seconds is None:
            return False
        whole_s = (self._deadline_at or 0.0) - study.opened.at
        return self._ends_at - now <= min(self.ahead.seconds, SHARE_OF_TIME * whole_s)

    def _bound(self, deadline_at: float | None) -> None:
        """On the monotonic clock: a night is as long as it was meant to be if the machine's clock is set meanwhile."""
        self._deadline_at = deadline_at
        bounded = deadline_at is not None and self._settings.finals != "now"
        self._ends_at = self._clock.monotonic() + (deadline_at or 0.0) - self._clock.now() if bounded else None
