"""The commands around noise and what is kept: finals, certify, calibrate. Each builds its arguments and calls one
function."""

from pathlib import Path
from typing import Annotated

import typer

from swarm.cli import flags


def finals(
    study: flags.Study = None,
    workers: Annotated[int | None, typer.Option("--workers", "-w", help="Default: as many as the study had.")] = None,
    brain: flags.Brain = None,
    as_json: flags.Json = False,
) -> int:
    """Run the finals of a study now, or what is left of them: the best programs and the baseline on fresh seeds.

    Only these runs decide what is kept. Each further finals of the same study demands more.
    """
    from swarm.cli.up import run_up
    from swarm.study.options import UpOptions

    given = frozenset() if workers is None else frozenset({"workers"})
    options = UpOptions(given=given, workers=workers or 2, resume=True, finals="now", study=study, brain=brain)
    return run_up(options, Path.cwd(), as_json=as_json)


def certify(
    top: Annotated[
        int | None, typer.Option(metavar="N", help="The N best that are kept. Default: all that are kept.")
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Fresh seeds; each is a run on the validation and one on the test split.")
    ] = 5,
    again: Annotated[
        bool, typer.Option("--again", help="Look at the test split a second time. It is recorded.")
    ] = False,
    study: flags.Study = None,
    brain: flags.Brain = None,
    as_json: flags.Json = False,
) -> int:
    """Run what is kept and the baseline on fresh seeds, then on the test split, once, and say what the gain loses.

    While no swarm runs here. The result is in an audit file beside the brain, which no worker reads. After Ctrl-C the
    same command goes on.
    """
    from swarm.cli.again import run_certificate

    return run_certificate(study, brain, seeds=seeds, top=top, again=again, as_json=as_json)


def calibrate(
    target: flags.Target = "resnext",
    device: flags.Device = "auto",
    data: flags.Data = "auto",
    budget_s: flags.BudgetS = None,
    as_json: flags.Json = False,
) -> int:
    """Measure the noise floor, and whether two trials should share the device: nine runs of the unchanged program."""
    from swarm.cli.up import run_calibrate
    from swarm.study.options import UpOptions

    options = UpOptions(
        target=target,
        device=device,  # type: ignore[arg-type] # checked with the other choices in one place
        data=data,  # type: ignore[arg-type]
        budget_s=budget_s,
    )
    return run_calibrate(options, Path.cwd(), as_json=as_json)
