"""A draft that has passed the gate and waits for the device, kept over a restart: one file a worker.

.swarm/studies/STUDY/drafts/worker_1.json
"""

import logging
import os
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from swarm.records import Proposal
from workers.briefing import Briefing
from workers.claims import Draft

MAX_BYTES = 32 * 1024 * 1024

_log = logging.getLogger(__name__)


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True)

    proposal: Proposal
    briefing: Briefing
    arm: str
    follows: str | None


class KeptDraft:
    """Written by the thread that made the draft, read once by the worker that begins. What cannot be written or read is
    a draft that is made again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, draft: Draft, *, paid: bool = False) -> None:
        """`paid`: what it cost is in the records already, and is not counted again."""
        proposal = draft.proposal.model_copy(update={"usage": None}) if paid else draft.proposal
        text = _Kept(proposal=proposal, briefing=draft.briefing, arm=draft.arm, follows=draft.follows).model_dump_json()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, fresh = tempfile.mkstemp(dir=self._path.parent, prefix=".draft-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(fresh).replace(self._path)
        except OSError as error:
            _log.warning("%s is not written: %s", self._path, error)

    def take(self) -> Draft | None:
        """The draft that an earlier process left; the file stays until `drop`."""
        try:
            if self._path.stat().st_size > MAX_BYTES:
                return None
            kept = _Kept.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            _log.warning("%s is not read: %s", self._path, error)
            return None
        return Draft(kept.proposal, kept.briefing, kept.arm, kept.follows)

    def drop(self) -> None:
        """It has become a trial, or was refused."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s is not removed: %s", self._path, error)
