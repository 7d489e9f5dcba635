"""What ends a study: its number of trials and its hour, as it was opened with and as a person has changed them since.

All who ask for a limit ask the state of the study (`StudyState.limits`), so that a word written while it runs counts
for everybody from that line on. Pure.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from swarm.records import Steer, StudyOpened

Limit = Literal["trials", "deadline_at"]
"""What a `steer` record of a budget may be about."""


@dataclass(frozen=True, slots=True)
class Limits:
    """None: no limit. `trials` counts all of the study, its finals included; `deadline_at` in epoch seconds."""

    trials: int | None
    deadline_at: float | None

    @classmethod
    def of(cls, opened: StudyOpened) -> "Limits":
        return cls(opened.trials, opened.deadline_at)

    def after(self, steer: Steer) -> "Limits":
        """With one more word of a person. A record without a number lifts the limit; one with a number that can be
        none changes nothing."""
        value = steer.value
        if steer.action != "budget" or (value is not None and not (math.isfinite(value) and value >= 1)):
            return self
        match steer.subject:
            case "trials":
                return replace(self, trials=None if value is None else int(value))
            case "deadline_at":
                return replace(self, deadline_at=value)
            case _:
                return self
