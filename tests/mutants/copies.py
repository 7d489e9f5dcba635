"""Copies of the tree, in which one safeguard at a time is off."""

import os
import shutil
import subprocess
from itertools import count
from pathlib import Path

from mutants.safeguard import Safeguard

ROOT = Path(__file__).parents[2]


class Copy:
    """The files of the working tree as they are now, tracked or not yet, without what git ignores."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in filter(None, subprocess.check_output(listed).decode().split("\0")):
            source, copy = ROOT / name, folder / name
            if source.is_file():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copy)
        self._times = count(int(folder.stat().st_mtime) + 10, 10)
        self._before: dict[str, str] = {}

    def switch_off(self, safeguard: Safeguard) -> None:
        """Raises StaleSwitch."""
        texts = safeguard.switched_off(self.folder)
        self._before = {name: (self.folder / name).read_text(encoding="utf-8") for name in texts}
        self._write(texts)

    def restore(self) -> None:
        self._write(self._before)
        self._before = {}

    def _write(self, texts: dict[str, str]) -> None:
        """With times that no file ever had: Python tells by time and size whether its bytecode is stale."""
        for name, text in texts.items():
            (self.folder / name).write_text(text, encoding="utf-8")
            os.utime(self.folder / name, (when := next(self._times), when))
