"""Findings that were received and checked, until a study tries them, and what is known of those who sent them.

.swarm/shared/REMOTE/ID.json       one finding or replication each, written anew by us
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from swarm.sharing.finding import MAX_FILE_BYTES, Finding, Replication, read
from swarm.study.settings import Layout
from swarm.trial.files import Unreadable, read_plain, write_whole

REMOTE = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True)
class OnShelf:
    """`id` is the hash of the file as it was signed."""

    remote: str
    id: str
    what: Finding | Replication


@dataclass(frozen=True)
class Shelf:
    folder: Path

    @classmethod
    def of(cls, layout: Layout) -> "Shelf":
        return cls(layout.runtime / "shared")

    def put(self, remote: str, name: str, what: Finding | Replication) -> bool:
        """False where it was there already."""
        path = self.folder / remote / f"{name}.json"
        if path.exists():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, what.model_dump_json())
        return True

    def remotes(self) -> tuple[str, ...]:
        if not self.folder.is_dir():
            return ()
        return tuple(sorted(path.name for path in self.folder.iterdir() if REMOTE.fullmatch(path.name)))

    def read(self, remote: str) -> Iterator[OnShelf]:
        for path in sorted((self.folder / remote).glob("*.json")):
            try:
                yield OnShelf(remote, path.stem, read(read_plain(path, MAX_FILE_BYTES)))
            except (Unreadable, ValidationError, ValueError):
                continue
