"""What was told already: ids of notices in a file of the study, so that a restart drops nothing and repeats nothing.

The file holds ids and no addresses. It is written after a delivery: whoever dies between the two tells once more.
"""

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path

from swarm.trial.files import read_json, write_whole


class Told:
    """For one study; `path` may not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        fields = read_json(path)
        listed = fields.get("told", []) if fields is not None else []
        self.known = fields is not None  # somebody has kept it since the study began, or was opened again
        self._ids = [str(one) for one in listed] if isinstance(listed, list) else []

    def __contains__(self, notice_id: str) -> bool:
        return notice_id in self._ids

    def add(self, ids: Iterable[str]) -> None:
        """On a full disk it is kept in memory alone: better told twice than not at all."""
        self._ids += [one for one in ids if one not in self._ids]
        self.known = True
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, json.dumps({"told": self._ids}))
