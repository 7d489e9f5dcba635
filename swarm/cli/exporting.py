"""The command `swarm export`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.flags import Brain, Study

if TYPE_CHECKING:
    from swarm.study.state import StudyState

FORMATS = "tsv|csv|jsonl|parquet|tensorboard|mlflow|wandb|optuna"


def export(
    to: Annotated[str, typer.Argument(metavar="TO", help=f"{FORMATS}; the first three are printed.")] = "tsv",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the others.")] = Path("exports"),
    study: Study = None,
    brain: Brain = None,
) -> None:
    """Give the finished trials to other tools: as a table, or into a store.

    Again as often as you like, also while the study runs: a store gets each trial once. Nothing is sent anywhere.
    """
    from swarm.cli.read import find_study, open_brain
    from swarm.errors import MissingExtra, UsageError
    from swarm.report.export import EXPORTERS, STORES, export_to
    from swarm.version import missing

    if to not in EXPORTERS and to not in STORES:
        raise UsageError(f"there is no export to {to!r}; it is one of {', '.join((*EXPORTERS, *STORES))}")
    opened = open_brain(brain)
    found = find_study(opened, study)
    if to in EXPORTERS:
        sys.stdout.write(EXPORTERS[to](found))
        return
    if absent := missing(to):
        raise MissingExtra(to, absent)
    written = export_to(to, found, _texts(brain, opened.path, found), out)
    print(f"{written.path}: {written.added} trials added, {written.known} were there. Look: {written.opened_with}")


def _texts(brain: Path | None, path: Path, study: "StudyState") -> dict[str, str]:
    """Sources by program; none where the brain lies in no repository."""
    from swarm.cli.programs import Sources
    from swarm.cli.read import root_of
    from swarm.errors import NotARepository
    from swarm.repo import Repo

    try:
        return Sources(Repo.open(root_of(brain)), study, path).texts()
    except NotARepository:
        return {}
