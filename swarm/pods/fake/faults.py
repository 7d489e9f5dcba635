"""What the fake does wrong, when it is told to."""

import contextlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

Place = Literal["catalog", "create", "list", "get", "delete", "action", "logs", "pod", "clock"]
What = Literal[
    "status",  # answers with `status`, and does nothing
    "done_status",  # does it, and answers with `status`
    "no_capacity",  # 400, as the API has it
    "lost_reply",  # does it, and closes the connection without a word
    "late_reply",  # does it, and answers `seconds` later
    "drop",  # closes the connection and does nothing
    "hidden",  # a new pod is listed only `seconds` after it was made
    "never_starts",  # it stays where it is
    "late_start",  # it runs `seconds` later than others
    "dies",  # `seconds` after it began to run
    "differs",  # the server's clock, by `seconds`
]


class Fault(BaseModel):
    """`times` 0: always."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: Place
    what: What
    times: int = 1
    card: str | None = None
    status: int = 500
    retry_after: str | None = None
    seconds: float = 0.0


_FAULTS = TypeAdapter(list[Fault])


class Faults:
    """Given here, or put into a file that is read once and taken away."""

    def __init__(self, faults: list[Fault] | None = None, file: Path | None = None) -> None:
        self._left = [(fault, fault.times) for fault in faults or []]
        self._file = file

    def take(self, on: Place, what: tuple[What, ...] = (), card: str | None = None) -> Fault | None:
        """The next fault for this place, counted down; None for a place where all is well."""
        self._read()
        for index, (fault, left) in enumerate(self._left):
            if fault.on != on or (what and fault.what not in what) or (fault.card and fault.card != card):
                continue
            if fault.times:
                self._left[index] = (fault, left - 1)
                if left <= 1:
                    del self._left[index]
            return fault
        return None

    def _read(self) -> None:
        if self._file is None:
            return
        with contextlib.suppress(FileNotFoundError):
            given = _FAULTS.validate_json(self._file.read_bytes())
            self._file.unlink()
            self._left += [(fault, fault.times) for fault in given]
