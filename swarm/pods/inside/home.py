"""The folder of a pod: what lies where, and how it is written so that nobody ever reads half of it.

The names that the renter knows are those of `swarm.pods.order`. Beside them, for the pod's own processes:

    entry.json     what the entry script does now, and the process of `swarm up`
    watch.json     how long the pod has lived, over all restarts
    ending.json    why the pod ends and how far that has come; with it no study is started any more
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

_MAX_BYTES = 1 << 20  # of a file that is read as a whole: those that are ours are a few hundred bytes


@dataclass(frozen=True, slots=True)
class Home:
    root: Path

    @property
    def bundle(self) -> Path:
        return self.root / "in" / "study.bundle"

    @property
    def repo(self) -> Path:
        return self.root / "repo"

    @property
    def brain(self) -> Path:
        return self.repo / "swarm_brain.jsonl"

    @property
    def report(self) -> Path:
        return self.root / "report"

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def collected(self) -> Path:
        return self.root / "collected.json"

    @property
    def down(self) -> Path:
        return self.root / "down"

    @property
    def entry(self) -> Path:
        return self.root / "entry.json"

    @property
    def watch(self) -> Path:
        return self.root / "watch.json"

    @property
    def left(self) -> Path:
        """There when the provider has said yes to the end of this pod."""
        return self.root / "left"

    @property
    def ending(self) -> Path:
        return self.root / "ending.json"

    def log(self, name: str) -> Path:
        """`entry`, `study` or `watchdog`."""
        return self.root / "log" / f"{name}.log"

    def make(self) -> None:
        for folder in (self.root, self.root / "in", self.root / "log"):
            folder.mkdir(parents=True, exist_ok=True)

    def say(self, who: str, text: str) -> None:
        """One line into a log. A full disk costs the line and nothing else."""
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} {' '.join(text.split())[:2000]}\n"
        try:
            with self.log(who).open("a", encoding="utf-8", errors="replace") as file:
                file.write(line)
        except OSError:
            return


def write_json(path: Path, fields: dict[str, object]) -> bool:
    """As a whole or not at all. False where the disk refused: the caller goes on, since nothing here is worth a
    watchdog's life."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        draft.write_text(json.dumps(fields), encoding="utf-8")
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        return False
    return True


def read_json(path: Path) -> dict[str, object]:
    """Empty where there is no such file, or it holds something else."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def number(fields: dict[str, object], name: str) -> float | None:
    value = fields.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def text(fields: dict[str, object], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) else None
