"""`swarm gpu`: who holds what, and what the admission controller would do."""

from typing import Annotated

import typer

gpu_app = typer.Typer(
    help="Device memory: who holds what, why the next one waits, and what if.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
