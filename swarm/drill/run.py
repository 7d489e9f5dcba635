"""The scenes in order, each in a folder of its own, within a limit for all of them."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from swarm.drill import night, record, servers, stash
from swarm.drill.finding import Fault, Finding, Scene
from swarm.errors import MissingExtra, SwarmError
from swarm.version import missing

ALL = (record.SCENE, servers.SCENE, stash.SCENE, night.SCENE)
LIMIT_S = 170.0


def promises() -> tuple[str, ...]:
    return tuple(promise for scene in ALL for promise in scene.promises)


def run(
    scenes: tuple[Scene, ...] = ALL, begin: Callable[[str], object] = lambda _: None, *, limit_s: float = LIMIT_S
) -> Generator[Finding, None, None]:
    """A finding for each promise, as soon as it is known. `begin` is told the name of each scene.

    After `limit_s` in all what is left is red. Raises MissingExtra where a study could not run at all.
    """
    for extra in ("train", "models"):
        if absent := missing(extra):
            raise MissingExtra(extra, absent)
    ends_by = time.monotonic() + limit_s
    for scene in scenes:
        begin(scene.name)
        with _throw_away() as folder:
            yield from _played(scene, folder, ends_by)


def _played(scene: Scene, folder: Path, ends_by: float) -> Iterator[Finding]:
    left = list(scene.promises)
    why = "the scene ended before it was tried"
    try:
        for finding in scene.play(folder, ends_by):
            left.remove(finding.promise)
            yield finding
    except (Fault, SwarmError, OSError, subprocess.SubprocessError) as error:
        why = " ".join(str(error).split())[:300]
    yield from (Finding(promise, False, f"not tried: {why}") for promise in left)


@contextmanager
def _throw_away() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="swarm-drill-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
