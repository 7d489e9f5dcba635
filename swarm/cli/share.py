"""`swarm share`: findings to and from other swarms."""

from pathlib import Path
from typing import Annotated

import typer

from swarm.cli import flags

share_app = typer.Typer(
    no_args_is_help=True,
    help="Tell other swarms what was found here, and try what they have found.",
    context_settings=flags.HELP,
)
Address = Annotated[str, typer.Argument(help="A git remote, a folder, or an https address of one.")]


@share_app.callback()
def _root() -> None:
    """Publish, fetch and list findings."""


@share_app.command()
def publish(
    address: Address,
    trials: Annotated[list[str] | None, typer.Argument(help="Trials such as t0007. Default: all that is kept.")] = None,
    swarm: Annotated[str, typer.Option("--as", metavar="NAME", help="What others call this swarm.")] = "",
    key: Annotated[Path, typer.Option(help="SSH key that signs.")] = Path("~/.ssh/id_ed25519"),
    note: Annotated[str, typer.Option(help="Up to 300 characters for people; no model reads them.")] = "",
    study: flags.Study = None,
    brain: flags.Brain = None,
) -> None:
    """Sign and publish what is kept, and how the findings of others did here."""
    from swarm.cli.sharing import publish_study

    publish_study(address, trials or [], swarm, key.expanduser(), note, brain, study)


@share_app.command()
def fetch(
    remote: Annotated[str, typer.Argument(help="What to call this remote here: its arm is import:REMOTE.")],
    address: Address,
    accept: Annotated[
        Path | None, typer.Option(help="Keys that you accept. Default: ~/.config/swarm/accepted_signers.")
    ] = None,
    swarm: Annotated[str | None, typer.Option("--as", metavar="NAME", help="This swarm's name, to skip it.")] = None,
    brain: flags.Brain = None,
) -> None:
    """Take what keys of your list have signed and what fits; the next study tries it, a tenth of its trials at most."""
    from swarm.cli.sharing import fetch_remote

    fetch_remote(remote, address, accept, swarm, brain)


@share_app.command("list")
def list_command(brain: flags.Brain = None, study: flags.Study = None) -> None:
    """Show what was fetched, how it did here, and how often it was confirmed elsewhere."""
    from swarm.cli.sharing import print_shelf

    print_shelf(brain, study)
