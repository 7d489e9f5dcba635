"""Schema mode, until the server has shown that it does not keep to a schema."""

import hashlib
import logging
from pathlib import Path
from typing import Literal

Mode = Literal["envelope", "schema"]

_log = logging.getLogger(__name__)


class ModeOf:
    """The mode of one model on one server. What is learnt is an empty file in `folder`, so that no other worker of the
    study, nor this one after a restart, asks the server again; with `folder` None this object alone remembers it.
    """

    def __init__(self, asked: Mode, folder: Path | None, base_url: str | None, model: str) -> None:
        self._mode = asked
        name = hashlib.sha256(f"{base_url}\n{model}".encode()).hexdigest()[:16]
        self._mark = folder / name if folder is not None else None

    @property
    def now(self) -> Mode:
        if self._mode == "schema" and self._mark is not None and self._mark.exists():
            self._mode = "envelope"
        return self._mode

    def give_up_schema(self) -> None:
        self._mode = "envelope"
        if self._mark is None:
            return
        try:
            self._mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._mark.touch()
        except OSError as error:  # costs one request of the next worker
            _log.warning("%s is not remembered: %s", self._mark, error)
