"""`swarm brain`: what is done with brain files as such, and with the programs beside them."""

from pathlib import Path
from typing import Annotated

import typer

from swarm.cli import flags

brain_app = typer.Typer(no_args_is_help=True, help="Merge brain files; carry programs.", context_settings=flags.HELP)


@brain_app.callback()
def _root() -> None:
    """Merge brain files, or carry their programs to another clone."""


@brain_app.command("merge")
def merge_command(
    a: Annotated[Path, typer.Argument(metavar="A", help="The brain that is added to, also while a study runs on it.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The brain whose records come in; it is not changed.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write both into this new file; A stays.")] = None,
) -> None:
    """Add the records of B to A by their ids: each once, in their order, as one chain. Contradictions are refused."""
    from swarm.brain import merge, merged_file
    from swarm.cli.read import open_brain
    from swarm.errors import SwarmError

    for path in (a, b):
        if not path.is_file():
            raise SwarmError(f"there is no brain at {path}")
    merged = merged_file(a, b, out) if out is not None else merge(open_brain(a), b)
    left = f", {merged.unreadable} lines that cannot be read left out" if merged.unreadable else ""
    print(f"{out or a}: {merged.added} records added, {merged.known} were there{left}")


@brain_app.command("bundle")
def bundle_command(brain: flags.Brain = None) -> None:
    """Write the programs of a brain's studies into one file beside it, for clones: git brings none of them.

    With it beside the brain, swarm show, diff and adopt work in another clone.
    """
    from swarm.cli.read import open_brain, root_of
    from swarm.repo import Repo, bundle_beside, write_bundle

    opened = open_brain(brain)
    bases = {name: study.opened.base_commit for name, study in opened.snapshot().studies.items()}
    path = bundle_beside(opened.path)
    written = write_bundle(Repo.open(root_of(brain)), bases, path)
    print(f"Wrote {written} programs ({path.stat().st_size / 1024:.0f} KiB) into {path}")
