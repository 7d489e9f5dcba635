"""What a drill says: a promise, whether it was kept, and what was seen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    promise: str
    ok: bool
    seen: str
    """What happened, with the numbers; for a red one, what should have."""


@dataclass(frozen=True)
class Scene:
    """`play` gets an empty folder and the moment (monotonic seconds) by which it has to end. It yields a finding for
    each of `promises`; what it does not get to is red."""

    name: str
    promises: tuple[str, ...]
    play: Callable[[Path, float], Iterator[Finding]]


class Fault(Exception):
    """A scene cannot go on: what it waited for did not happen. The message says what."""
