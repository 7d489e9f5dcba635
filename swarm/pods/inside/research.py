"""How a study goes, as its brain tells: is there anything new, does a trial run, what has the money brought.

A small reading of the records with the standard library alone; `swarm.study.state` is the whole one, and a test holds
the two together.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_CHUNK_BYTES = 1 << 20
_MAX_LINE_BYTES = 32 * 1024


@dataclass(slots=True)
class _Study:
    sign: float = 1.0
    program_of: dict[str, str] = field(default_factory=dict)
    costs: dict[str, list[float]] = field(default_factory=dict)
    open_trials: set[str] = field(default_factory=set)
    lineage: list[str] = field(default_factory=list)
    first: str | None = None

    def incumbent_cost(self) -> float | None:
        """Mean cost of what the workers build on, less is better."""
        program = self.lineage[-1] if self.lineage else self.first
        costs = self.costs.get(program or "", [])
        return sum(costs) / len(costs) if costs else None


class Research:
    """Follows one brain. `look` reads what is new; everything else is a question to what was read."""

    def __init__(self, brain: Path, skip: int = 0) -> None:
        """Lines up to byte `skip` were there before the pod began."""
        self._brain = brain
        self._offset = 0
        self._skip = skip
        self._studies: dict[str, _Study] = {}
        self.latest: str | None = None  # the study that was opened last, by this pod

    def look(self) -> bool:
        """Whether a complete line has come since the last look. A brain that shrank is read anew."""
        before = self._offset
        for line, end in self._new_lines():
            self._offset = end
            if len(line) <= _MAX_LINE_BYTES:
                self._apply(line, of_this_pod=end > self._skip)
        return self._offset != before

    @property
    def has_trials(self) -> bool:
        """Whether the latest study has claimed one, so that it can be gone on with."""
        return bool(self.latest and self._studies[self.latest].program_of)

    @property
    def trial_runs(self) -> bool:
        """Whether the latest study has a trial that was claimed and has not ended."""
        return bool(self.latest and self._studies[self.latest].open_trials)

    @property
    def incumbent_cost(self) -> float | None:
        return self._studies[self.latest].incumbent_cost() if self.latest else None

    def _new_lines(self) -> Iterator[tuple[bytes, int]]:
        try:
            fd = os.open(self._brain, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            if os.fstat(fd).st_size < self._offset:
                self._offset, self._studies, self.latest = 0, {}, None
            rest, position = b"", self._offset
            while chunk := os.pread(fd, _CHUNK_BYTES, position):
                position += len(chunk)
                *complete, rest = (rest + chunk).split(b"\n")
                end = position - len(rest) - sum(len(line) + 1 for line in complete)
                for line in complete:
                    end += len(line) + 1
                    yield line, end
        finally:
            os.close(fd)

    def _apply(self, line: bytes, *, of_this_pod: bool) -> None:
        try:
            record = json.loads(line)
            study_id, kind = str(record["study_id"]), record["kind"]
            if kind == "study_opened":
                study = self._studies.setdefault(study_id, _Study())
                study.sign = -1.0 if (record.get("objective") or {}).get("direction") == "maximize" else 1.0
                self.latest = study_id if of_this_pod else self.latest
            elif (known := self._studies.get(study_id)) is not None:
                _fold(known, kind, record)
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # a line that cannot be read costs only itself


def _fold(study: _Study, kind: object, record: dict[str, object]) -> None:
    if kind == "proposal_claimed":
        trial = str(record["trial_id"])
        if trial not in study.program_of:
            study.program_of[trial] = str(record.get("program") or trial)
            study.first = study.first or study.program_of[trial]
            study.open_trials.add(trial)
    elif kind == "trial_finished":
        trial, value = str(record["trial_id"]), record.get("validation_loss")
        if trial in study.open_trials:
            study.open_trials.discard(trial)
            if isinstance(value, int | float):
                study.costs.setdefault(study.program_of[trial], []).append(study.sign * value)
    elif kind == "verdict" and record["program"] in study.program_of.values():
        program = str(record["program"])
        if record.get("leads") is True and program not in study.lineage:
            study.lineage.append(program)
        elif record.get("decision") == "discard" and program in study.lineage:
            study.lineage.remove(program)
