"""Transcripts of what was asked and answered, one JSON file a call, with every secret removed.

    .swarm/llm/<agent_id>/0001.json

For people who want to know why a model proposed what it did; nothing reads them back.
"""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from workers.redact import Redactor

MAX_TEXT = 256 * 1024

_log = logging.getLogger(__name__)


class Transcripts:
    """A folder of numbered files, readable by their owner only. `folder` None keeps nothing."""

    def __init__(self, folder: Path | None, redact: Redactor) -> None:
        self._folder = folder
        self._redact = redact

    def write(self, entry: Mapping[str, object]) -> Path | None:
        """A transcript that cannot be written is logged and forgotten: it must not cost a proposal."""
        if self._folder is None:
            return None
        text = json.dumps(self._safe(entry), ensure_ascii=False, indent=1, default=str)
        try:
            return self._create(self._folder, text)
        except OSError as error:
            _log.warning("no transcript in %s: %s", self._folder, error)
            return None

    def _create(self, folder: Path, text: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        number = 1 + max((int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit()), default=0)
        while True:
            path = folder / f"{number:04d}.json"
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                number += 1
                continue
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
            return path

    def _safe(self, value: object) -> object:
        """The same structure with every text cut and without secrets."""
        if isinstance(value, str):
            text = self._redact(value)  # before the cut, which could halve a key
            return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + f"... ({len(text)} characters)"
        if isinstance(value, Mapping):
            return {str(key): self._safe(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._safe(item) for item in value]
        return value
