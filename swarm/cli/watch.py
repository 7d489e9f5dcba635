"""The command `swarm watch`."""

from typing import Annotated

import typer

from swarm.cli.flags import Brain, Study


def watch(
    once: Annotated[bool, typer.Option("--once", help="Print one frame and leave.")] = False,
    study: Study = None,
    brain: Brain = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line: one for each change.")] = False,
) -> int:
    """Watch a study from any terminal: slots with progress and end, queue, incumbent, noise, pace, spend, events.

    In a pipe it prints a frame for each change until the study ends; Ctrl-C leaves. --brain shows a pod's copy.
    """
    from swarm.cli.watching import run_watch

    return run_watch(brain, study, once=once, as_json=as_json)
