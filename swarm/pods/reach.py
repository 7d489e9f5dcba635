"""How the files of a pod are reached, whoever rents it out. Names are relative to the pod's home (`order.py`)."""

import os
import shutil
from pathlib import Path
from typing import Protocol

from swarm.errors import PodError


class OutOfReach(PodError):
    """The pod's files cannot be reached now; it may still be starting, or be gone."""


class Reach(Protocol):
    """All of it may raise OutOfReach; each call ends by itself within a minute or so."""

    def put(self, local: Path, name: str) -> None:
        """Writes a file there as a whole: under another name first, then renamed."""

    def get(self, name: str, local: Path) -> bool:
        """Fetches a file as a whole; False when there is none."""

    def read(self, name: str, start: int = 0, limit: int = 1 << 20) -> bytes:
        """At most `limit` bytes of a file from `start` on; empty when there is none."""

    def git(self) -> tuple[str, dict[str, str]]:
        """The address of the pod's repository for `git fetch`, and what git needs in its environment for it."""


class FolderReach:
    """A pod whose home is a folder of this machine."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def put(self, local: Path, name: str) -> None:
        self._there()
        target = self._home / name
        half = target.with_name(target.name + ".half")
        try:
            target.parent.mkdir(exist_ok=True)  # not the home itself: it may have gone meanwhile
            shutil.copyfile(local, half)
            half.replace(target)
        except FileNotFoundError as error:
            raise OutOfReach(f"{self._home} has gone: the pod has ended") from error

    def get(self, name: str, local: Path) -> bool:
        self._there()
        half = local.with_name(local.name + ".half")
        try:
            shutil.copyfile(self._home / name, half)
        except FileNotFoundError:
            return False
        half.replace(local)
        return True

    def read(self, name: str, start: int = 0, limit: int = 1 << 20) -> bytes:
        self._there()
        try:
            descriptor = os.open(self._home / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(descriptor, limit, start)
        finally:
            os.close(descriptor)

    def git(self) -> tuple[str, dict[str, str]]:
        self._there()
        return str(self._home / "repo"), {}

    def _there(self) -> None:
        if not self._home.is_dir():
            raise OutOfReach(f"{self._home} is not there: the pod has ended, or has not begun")
