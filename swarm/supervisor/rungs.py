"""Takes what a training leaves at its rungs: each once, in order, when it appears, with the time that was used by then.

The files are the candidate's; what was taken is not. What it writes later, or out of order, nobody reads.
"""

from collections.abc import Sequence
from contextlib import suppress

from swarm.failpoints import failpoint
from swarm.trial.files import Unreadable, read_plain
from swarm.trial.folder import MAX_RUNG_BYTES, TrialFolder


class RungTaker:
    """`taken`: (percent of the budget, CPU seconds of the phase by then, wall seconds by then)."""

    def __init__(self, folder: TrialFolder, percents: Sequence[int]) -> None:
        self.taken: list[tuple[int, float, float]] = []
        self._folder = folder
        self._due = sorted(percents)

    def look(self, cpu_s: float, wall_s: float) -> None:
        """At most one rung each time: the next one. One that is no plain file of the right size is lost."""
        if not self._due or not self._folder.rung_logits(self._due[0]).exists():
            return
        percent = self._due.pop(0)
        with suppress(Unreadable, OSError):
            content = read_plain(self._folder.rung_logits(percent), MAX_RUNG_BYTES)
            draft = self._folder.taken_rung(percent).with_suffix(".tmp")
            failpoint("rung.before_draft")
            draft.write_bytes(content)
            failpoint("rung.drafted")
            draft.replace(self._folder.taken_rung(percent))
            failpoint("rung.after")
            self.taken.append((percent, round(cpu_s, 3), round(wall_s, 3)))
