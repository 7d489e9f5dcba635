"""How whoever follows a pod gets at what is on it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from swarm.pods.provider import Pod
from swarm.pods.reach import Reach


class Brought(Protocol):
    """What one collection brought: new records, trial refs, how much of the pod's brain is here, whether the report,
    and in words which records were refused, if any was."""

    @property
    def records(self) -> int: ...
    @property
    def refs(self) -> int: ...
    @property
    def brain_bytes(self) -> int: ...
    @property
    def report(self) -> bool: ...
    @property
    def refused(self) -> str: ...


@dataclass(frozen=True)
class Means:
    """How a pod's files are reached and brought. `reach` is None while there is no address; `collect` may raise
    OutOfReach, RepoError and whatever PodError. `pushed` brings what the pod has pushed to a remote, if it does."""

    reach: Callable[[Pod], Reach | None]
    collect: Callable[[Reach], Brought]
    bundle: Path | None = None
    pushed: Callable[[], Brought] | None = None
