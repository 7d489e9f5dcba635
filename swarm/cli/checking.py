"""The commands that ask whether what is recorded is so, verify and attribute, and what this machine can do, doctor.
Each builds its arguments and calls one function."""

from pathlib import Path
from typing import Annotated

import typer

from swarm.cli import flags


def verify(
    brain: flags.Brain = None,
    rerun: Annotated[
        str | None, typer.Option(metavar="TRIAL", help="Run this trial again, with its seed and work, and compare.")
    ] = None,
    study: flags.Study = None,
    as_json: flags.Json = False,
) -> int:
    """Check the brain's hash chain and name the first line that was changed, added or removed.

    With --rerun: exit code 1 when the trial does not give its result again, beyond the noise between seeds.
    """
    if rerun is not None:
        from swarm.cli.again import print_rerun

        return print_rerun(rerun, study, brain, as_json=as_json)
    from swarm.cli.read import print_verify

    return print_verify(brain, as_json=as_json)


def attribute(
    trial: Annotated[
        str | None, typer.Argument(help="Default: the best program that is kept, else what leads.")
    ] = None,
    study: flags.Study = None,
    brain: flags.Brain = None,
    as_json: flags.Json = False,
) -> int:
    """Leave each edit of a program out in turn, three runs each, and say what it gains and what is as good without it.

    While no swarm runs here. The first Ctrl-C ends it after the running trial; the same command goes on.
    """
    from swarm.cli.again import run_attribution

    return run_attribution(trial, study, brain, as_json=as_json)


def doctor(
    as_json: flags.Json = False,
    call: Annotated[bool, typer.Option("--call", help="Ask the model server once; it costs one small call.")] = False,
    proposer: Annotated[str, typer.Option(metavar="SPEC", help="Whom --call asks: openai:MODEL@URL.")] = "openai",
    agents: Annotated[
        bool,
        typer.Option(
            "--agents", help="Try each installed coding agent on a scripted model here, a minute each at most."
        ),
    ] = False,
) -> int:
    """Say what this machine can do: git, sandbox, devices, locks, disk, model server."""
    from swarm.cli.doctor import print_doctor

    more = [*([("call", proposer)] if call else []), *([("agents",)] if agents else [])]
    return print_doctor(Path.cwd(), as_json=as_json, more=more)
