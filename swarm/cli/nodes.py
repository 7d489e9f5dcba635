"""`swarm node run` and `swarm nodes`."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from swarm.cli import flags

node_app = typer.Typer(help="Be a node: run trials for a study on another machine.", no_args_is_help=True)


@node_app.callback()
def _node() -> None:
    pass


@node_app.command("run")
def run(
    join: Annotated[
        Path, typer.Option("--join", metavar="FILE", help="A copy of the study's address.json, as `swarm up` names it.")
    ],
    name: Annotated[str | None, typer.Option(help="This node's name. Default: the machine's.")] = None,
) -> None:
    """Run trials until the study ends. SIGTERM, SIGUSR2 and Ctrl-C give back what runs, and end it."""
    from swarm.clock import SystemClock
    from swarm.nodes.host import read_address
    from swarm.nodes.node import run_node

    taken: list[int] = []
    for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
        signal.signal(number, lambda received, _: taken.append(received))
    typer.echo(run_node(read_address(join), SystemClock(), typer.echo, name=name, taken_away=lambda: bool(taken)))


def nodes(as_json: flags.Json = False) -> None:
    """Show the nodes of the running study: their cards and memory, what runs there, when they were last heard."""
    from swarm.cli.nodes_text import print_nodes

    print_nodes(Path.cwd(), as_json=as_json)
