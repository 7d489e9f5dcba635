"""`swarm watch`: a study from any terminal, as one frame, as a live view, or as lines in a pipe."""

import contextlib
import json
import secrets
from pathlib import Path

from rich.console import Console
from rich.live import Live

from swarm.cli.read import find_study, open_brain
from swarm.clock import Clock, SystemClock
from swarm.errors import MissingExtra
from swarm.version import missing
from swarm.watch.frame import Frame
from swarm.watch.terminal import picture
from swarm.watch.watching import LOOK_EVERY_S, Watcher, watch_study


def run_watch(brain: Path | None, study_id: str | None, *, once: bool, as_json: bool) -> int:
    """0, also after Ctrl-C, which is how one leaves. Raises SwarmError when there is no brain or no study in it."""
    clock = SystemClock()
    watcher = open_watcher(brain, study_id, clock)
    console = Console(highlight=False)
    try:
        if once:
            _print(watcher.need(), console, as_json=as_json)
        elif as_json or not console.is_terminal:
            for seen in watcher.changes(clock):
                _print(seen, console, as_json=as_json)
                if not as_json:
                    print(flush=True)
        else:
            _follow(watcher, console, clock)
    except KeyboardInterrupt:
        return 0
    return 0


def serve_page(brain: Path | None, study_id: str | None, port: int) -> int:
    """Until Ctrl-C. Raises MissingExtra where what serves it is not installed."""
    if absent := missing("web"):
        raise MissingExtra("web", absent)
    from swarm.cli.reporting import evidence_of
    from swarm.watch.web.hub import Hub
    from swarm.watch.web.server import LOOPBACK, listening, serve

    clock, token = SystemClock(), secrets.token_urlsafe(24)
    evidence = evidence_of(brain, open_brain(brain), check=False)
    hub = Hub(open_watcher(brain, study_id, clock), lambda: open_brain(brain), clock, evidence)
    hub.frame()
    with listening(port) as place:
        here = place.getsockname()[1]
        print(f"Watch it at http://{LOOPBACK}:{here}/?token={token}")
        print(f"From elsewhere: ssh -L {here}:{LOOPBACK}:{here} HOST. Ctrl-C ends the page, not the study.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):  # the signal comes once more when all connections are closed
            serve(hub, token, place)
    return 0


def open_watcher(brain: Path | None, study_id: str | None, clock: Clock) -> Watcher:
    """Raises SwarmError when there is no brain, or not this study in it."""
    opened = open_brain(brain)
    found = find_study(opened, study_id)
    return watch_study(opened, found.study_id if study_id is not None else None, clock)


def _print(seen: Frame, console: Console, *, as_json: bool) -> None:
    """At once, also into a pipe."""
    if as_json:
        print(json.dumps(seen.as_fields()), flush=True)
        return
    print_frame(seen, console)


def print_frame(seen: Frame, console: Console) -> None:
    with console.capture() as drawn:
        console.print(picture(seen, console.width))
    console.file.write("\n".join(line.rstrip() for line in drawn.get().splitlines()) + "\n")
    console.file.flush()


def _follow(watcher: Watcher, console: Console, clock: Clock) -> None:
    """On the alternate screen, once a second; the last frame stays on the terminal."""
    seen = watcher.need()
    if seen.state != "ended":
        try:
            with Live(console=console, screen=True, auto_refresh=False) as live:
                while seen.state != "ended":
                    live.update(picture(seen, console.width, console.height), refresh=True)
                    clock.sleep(LOOK_EVERY_S)
                    seen = watcher.need()
        except KeyboardInterrupt:
            pass
    console.print(picture(seen, console.width))
