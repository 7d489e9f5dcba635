"""The command `swarm watch`."""

from typing import Annotated

import typer

from swarm.cli.flags import Brain, Study


def watch(
    once: Annotated[bool, typer.Option("--once", help="Print one frame and leave.")] = False,
    study: Study = None,
    brain: Brain = None,
    web: Annotated[bool, typer.Option("--web", help="Serve it as a page of this machine, with buttons.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page. A free one where it is taken.")] = 8477,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line: one for each change.")] = False,
) -> int:
    """Watch a study from any terminal: slots with progress and end, queue, incumbent, noise, pace, spend, events.

    In a pipe it prints a frame for each change until the study ends; Ctrl-C leaves. --brain shows a pod's copy.
    """
    from swarm.cli.watching import run_watch, serve_page

    if web:
        return serve_page(brain, study, port)
    return run_watch(brain, study, once=once, as_json=as_json)
