"""The commands that ask whether what is recorded is so: verify, attribute. Each builds its arguments and calls one
function."""

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
