"""`swarm pod`: rent a machine, run a study there, bring the results home, stop paying."""

from pathlib import Path
from typing import Annotated

import typer

from swarm.cli.flags import HELP, Json

pod_app = typer.Typer(
    help=(
        "Rent a card by the hour: [bold]swarm pod up[/] rents it, runs the study, brings all results home and ends it."
        "\n\nTry it without an account: [bold]swarm pod up --fake --gpu 'NVIDIA GeForce RTX 4090' --hours 0.3 "
        "--max-usd 1 --yes -- --trials 4 --budget-s 3 --device cpu --data standin[/]"
        "\n\nA pod ends itself at its deadline, also when this machine is off. [bold]swarm pod list[/] shows what "
        "costs money now."
    ),
    no_args_is_help=True,
    context_settings=HELP,
)

Name = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="Of the pod, or the beginning of it. Default: this repository's open one."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")]


@pod_app.command(context_settings={**HELP, "allow_extra_args": True})
def up(
    context: typer.Context,
    gpu: Annotated[
        list[str] | None,
        typer.Option(
            "--gpu", metavar="NAME", help="A card as in the catalogue; the next one is tried where it is not there."
        ),
    ] = None,
    hours: Annotated[float, typer.Option(metavar="H", help="The pod ends after so many hours at the latest.")] = 8.0,
    max_usd: Annotated[
        float | None, typer.Option(metavar="USD", help="What it may cost in all; the pod ends before.")
    ] = None,
    max_price: Annotated[float | None, typer.Option(metavar="USD", help="No card above this price an hour.")] = None,
    cloud: Annotated[
        str | None, typer.Option(metavar="secure|community", help="Only this cloud. Default: the cheaper one.")
    ] = None,
    image: Annotated[str | None, typer.Option(help="Container image. Default: one with CUDA and torch.")] = None,
    volume: Annotated[
        str | None, typer.Option(metavar="ID", help="A network volume, mounted at /workspace; it outlives the pod.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", "-w", help="Research workers side by side.")] = 2,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VARIABLE=NAME", help="A secret of the provider's store as a variable in the pod: its name only."
        ),
    ] = None,
    repository: Annotated[
        str | None, typer.Option(metavar="URL", help="Clone from there instead of sending the files.")
    ] = None,
    push_to: Annotated[
        str | None, typer.Option(metavar="URL", help="A git remote to which the pod pushes its results as well.")
    ] = None,
    idle_min: Annotated[
        float, typer.Option("--idle-min", metavar="MIN", help="End the pod when nothing happened for so long.")
    ] = 30.0,
    min_gain: Annotated[
        float | None,
        typer.Option("--min-gain", metavar="X", help="End it when a dollar brings less than this of the objective."),
    ] = None,
    yes: Yes = False,
    fake: Annotated[
        bool, typer.Option("--fake", help="A provider that is not real: the pod is processes on this machine.")
    ] = False,
    host: Annotated[
        str | None, typer.Option(metavar="USER@MACHINE", help="A machine that you have, over SSH: nothing is rented.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Rent a pod, run the study in it, follow it and bring everything home.

    What follows -- are options of swarm up:
    [bold]swarm pod up --gpu 'NVIDIA GeForce RTX 4090' --hours 8 --max-usd 5 -- --target resnext[/]

    Several cards, none above 0.50 USD an hour:
    [bold]swarm pod up --gpu 'NVIDIA GeForce RTX 4090' --gpu 'NVIDIA GeForce RTX 3090' --max-price 0.5 --max-usd 4[/]

    Ctrl-C leaves the pod running; the same command again, or [bold]swarm pod watch[/], goes on with it.
    """
    from swarm.cli.rented import up_and_follow
    from swarm.pods.wish import Wish

    _check_words(context)

    wish = Wish(
        cards=tuple(gpu or []),
        hours=hours,
        max_usd=max_usd,
        max_price=max_price,
        cloud=cloud,
        image=image,
        volume=volume,
        workers=workers,
        secrets=tuple(secret or []),
        repository=repository,
        push_to=push_to,
        idle_s=idle_min * 60,
        min_gain=min_gain,
        fake=fake,
        host=host,
        up=tuple(context.args),
    )
    return up_and_follow(wish, Path.cwd(), yes=yes, as_json=as_json)


def _check_words(context: typer.Context) -> None:
    """A word that `swarm up` does not know is refused here, and not in a pod that is paid for."""
    commands: dict[str, typer.core.TyperCommand] = getattr(context.find_root().command, "commands", {})
    if "up" in commands:
        commands["up"].make_context("swarm up", list(context.args))


@pod_app.command(name="list")
def list_(as_json: Json = False) -> int:
    """Show every pod that may cost money now, on any machine of yours, and what it cost so far.

    Pods that nobody here waits for (orphans) are named with the command that ends them. Exit code 1 when there is one.
    """
    from swarm.cli.rented import print_list

    return print_list(as_json=as_json)


@pod_app.command()
def status(name: Name = None, as_json: Json = False) -> int:
    """Show one pod: its state, phase, price, cost so far, deadline, and what is home.

    [bold]swarm pod status --json | jq .cost_usd[/]
    """
    from swarm.cli.rented import print_status

    return print_status(name, Path.cwd(), as_json=as_json)


@pod_app.command()
def logs(
    name: Name = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the pod has ended.")] = False,
    as_json: Json = False,
) -> int:
    """Print what the study in the pod prints; before it begins, what the pod's set-up prints.

    [bold]swarm pod logs -f[/]
    """
    from swarm.cli.rented import print_logs

    return print_logs(name, Path.cwd(), follow=follow, as_json=as_json)


@pod_app.command()
def watch(name: Name = None, as_json: Json = False) -> int:
    """Follow the pod's study from here until it ends, bringing its results home. Ctrl-C leaves the pod running.

    The view is that of [bold]swarm watch[/], from what came home so far; with --json it is the outcome at the end.
    """
    from swarm.cli.rented import watch_pod

    return watch_pod(name, Path.cwd(), as_json=as_json)


@pod_app.command()
def sync(name: Name = None, as_json: Json = False) -> int:
    """Bring home what there is now: records, trial refs, report. A stopped pod is started for that, and ended after it.

    Safe to repeat: what is here already is not written again.
    """
    from swarm.cli.rented import sync_pod

    return sync_pod(name, Path.cwd(), as_json=as_json)


@pod_app.command()
def ssh(name: Name = None, as_json: Json = False) -> int:
    """Open a shell in the pod; with --json, print the command instead."""
    from swarm.cli.rented import open_ssh

    return open_ssh(name, Path.cwd(), as_json=as_json)


@pod_app.command()
def stop(name: Name = None, as_json: Json = False) -> int:
    """Give the card back and keep the disk, which costs a little. [bold]swarm pod sync[/] brings home what is on it,
    [bold]swarm pod up[/] goes on with it.
    """
    from swarm.cli.rented import stop_pod

    return stop_pod(name, Path.cwd(), as_json=as_json)


@pod_app.command()
def down(
    name: Name = None,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for running trials and the report.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> int:
    """End the pod with all that is on it, after bringing everything home; it costs nothing from then on.

    An orphan of [bold]swarm pod list[/] is ended by its name: [bold]swarm pod down swarm-...[/]
    """
    from swarm.cli.rented import end_pod

    return end_pod(name, Path.cwd(), now=now, yes=yes, as_json=as_json)
