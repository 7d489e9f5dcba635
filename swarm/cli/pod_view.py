"""The study of a pod as `swarm watch` shows a study, from the records that came home."""

import contextlib
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console, RenderableType
from rich.live import Live

from swarm.brain import Brain
from swarm.cli.watching import print_frame
from swarm.clock import Clock
from swarm.pods.home import own_studies
from swarm.pods.launching import Launch
from swarm.study.state import BrainState, StudyState
from swarm.watch.frame import Frame
from swarm.watch.terminal import picture
from swarm.watch.watching import Watcher, watch_chosen

BESIDE = 3  # lines of the terminal that stay free, for what is said of the pod


class View(Protocol):
    """What a person sees of the study between two turns."""

    def tell(self) -> None: ...


class Frames:
    """One frame for each change, or in a terminal one that changes."""

    def __init__(self, launch: Launch, console: Console, live: Live | None) -> None:
        self._watcher = home_watcher(launch, launch.renting.clock)
        self._console, self._live = console, live

    def tell(self) -> None:
        if self._live is not None:
            seen = self._watcher.look()
            if seen is not None:
                self._live.update(self._fitted(seen), refresh=True)
        elif (changed := self._watcher.changed()) is not None:
            print_frame(changed, self._console)

    def _fitted(self, seen: Frame) -> RenderableType:
        return picture(seen, self._console.width, self._console.height - BESIDE)


def home_watcher(launch: Launch, clock: Clock) -> Watcher:
    """Of the newest study that began in the pod, as far as it is in the brain at home."""

    def choose(state: BrainState) -> StudyState | None:
        own = own_studies(launch.mirror)
        found = [study for name, study in state.studies.items() if name in own]
        return found[-1] if found else None

    return watch_chosen(Brain(launch.home_brain, clock=clock), choose, clock)


@contextlib.contextmanager
def frames(launch: Launch, console: Console) -> Iterator[Frames]:
    """What else is said on the console meanwhile stands above the frame."""
    if not console.is_terminal:
        yield Frames(launch, console, None)
        return
    with Live(console=console, auto_refresh=False) as live:
        yield Frames(launch, console, live)
