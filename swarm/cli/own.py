"""`swarm init` and `swarm target`: how a target begins, and what can be said of it before a night is spent."""

import json
from pathlib import Path
from typing import Annotated

import typer

from swarm.cli import flags

target_app = typer.Typer(name="target", help="Check a target before a night is spent on it.", no_args_is_help=True)


def init(
    command: Annotated[str | None, typer.Option(help="Runs the program, such as 'python fit.py'.")] = None,
    editable: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Files that may change; may be given several times.")
    ] = None,
    metric: Annotated[str | None, typer.Option(metavar="NAME", help="The printed number that counts.")] = None,
    direction: Annotated[
        str | None, typer.Option(metavar="minimize|maximize", help="Which way the number is better.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; refuse where there is a choice.")] = False,
) -> int:
    """Make a target of your own repository: find the program and its number, measure them, write target.toml.

    The unchanged program is run a few times in the sandbox. What cannot be measured is refused, and nothing is written.
    """
    from swarm.cli.init import Asked, init_here

    return init_here(Asked(command, tuple(editable or ()), metric, direction, yes), Path.cwd())


@target_app.command()
def check(
    target: Annotated[
        str, typer.Argument(help="A name below models/, or a path; the repository's own is a point.")
    ] = ".",
    as_json: flags.Json = False,
) -> int:
    """Run the target's program once, then sample programs that cheat: none may get a number that it has not earned.

    Of a sealed target [bold]swarm drill[/] asks more. Exit code 1 when one of them gets through.
    """
    from swarm.errors import UsageError
    from swarm.orchestrator.checking_target import check_target
    from swarm.orchestrator.preparing import prepared_files
    from swarm.orchestrator.trying import Trier, scratch, working_files
    from swarm.repo import Repo
    from swarm.repo.secret import with_secret
    from swarm.target.file import load_target

    repo = Repo.open(Path.cwd())
    loaded = load_target(target, repo.root)
    if loaded.grading is None:
        raise UsageError(
            f"{loaded.name} is sealed: its harness is checked by `swarm drill`, and there is no command to try"
        )
    profile = loaded.profiles.cpu
    with scratch(repo) as folder:
        files = prepared_files(loaded, working_files(repo, repo.root / loaded.folder), _said_on_stderr)
        files = with_secret(files, repo, loaded.grading, str(loaded.folder))
        trier = Trier(files, loaded.terms, loaded.budget.of(profile), profile.memory_mib, folder)
        found = []
        for one in check_target(trier, loaded.grading, loaded.terms, maximized=loaded.objective.maximized):
            found.append(one)
            if not as_json:
                typer.secho(f"{'ok  ' if one.ok else 'FAIL'}  {one.name}: {one.detail}", fg=None if one.ok else "red")
    if as_json:
        rows = [{"name": one.name, "ok": one.ok, "detail": one.detail} for one in found]
        print(json.dumps({"schema_version": 1, "target": loaded.name, "grade": loaded.terms.grade, "checks": rows}))
    return 0 if all(one.ok for one in found) else 1


def _said_on_stderr(line: str) -> None:
    typer.echo(line, err=True)
