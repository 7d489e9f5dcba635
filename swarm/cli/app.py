"""Flags and help. Each command builds its arguments, calls one function and prints what it returned."""

import os
from pathlib import Path
from typing import Annotated

import typer

from swarm.cli import checking, decide, drill, exporting, flags, own, watch
from swarm.cli.brain import brain_app
from swarm.cli.examples import add_examples
from swarm.cli.gpu import gpu_app
from swarm.cli.nodes import node_app, nodes
from swarm.cli.pod import pod_app
from swarm.cli.share import share_app
from swarm.cli.steer import steer_app
from swarm.cli.verdicts import verdicts_app

app = typer.Typer(
    name="swarm",
    help=(
        "A research swarm that one person can leave alone overnight with one GPU.\n\n"
        "Start one with [bold]swarm up[/], look at it with [bold]swarm status[/], end it with [bold]swarm stop[/]. "
        "It writes everything that it learns into swarm_brain.jsonl, one JSON object a line."
    ),
    epilog=(
        "swarm COMMAND --help has examples of each. swarm --install-completion completes commands and options in your "
        "shell.\n\nExit codes: 0 ok, 1 failed, 2 wrong usage, 130 interrupted."
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings=flags.HELP,
)
app.add_typer(brain_app, name="brain")
app.add_typer(gpu_app, name="gpu")
app.add_typer(steer_app, name="steer")
app.add_typer(pod_app, name="pod")
app.add_typer(verdicts_app, name="verdicts")
app.add_typer(own.target_app, name="target")
app.add_typer(node_app, name="node")
app.add_typer(share_app, name="share")


def _version(wanted: bool) -> None:
    if wanted:
        from swarm.version import VERSION

        typer.echo(f"swarm {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    for size in ("COLUMNS", "LINES"):
        if set(os.environ.get(size, "")) == {"0"}:  # a shell without a terminal exports it; nothing can be drawn in it
            del os.environ[size]


@app.command()
def up(
    context: typer.Context,
    workers: Annotated[int, typer.Option("--workers", "-w", help="Research workers side by side.")] = 2,
    target: flags.Target = "resnext",
    trials: flags.Trials = None,
    hours: flags.Hours = None,
    budget_s: flags.BudgetS = None,
    device: flags.Device = "auto",
    data: flags.Data = "auto",
    proposer: flags.Proposer = "auto",
    worker: flags.Worker = None,
    model: Annotated[str | None, typer.Option(help="Language model. Default: $SWARM_MODEL.")] = None,
    base_url: Annotated[str | None, typer.Option(help="OpenAI-compatible server. Default: $OPENAI_BASE_URL.")] = None,
    max_usd: flags.MaxUsd = None,
    max_tokens: flags.MaxTokens = None,
    price_in: flags.PriceIn = None,
    price_out: flags.PriceOut = None,
    brain: flags.Brain = None,
    seed: Annotated[int, typer.Option(help="Seed of the proposers and, through it, of the trainings.")] = 0,
    resume: flags.Resume = False,
    memory: flags.Memory = "shared",
    memory_lot: flags.MemoryLot = flags.MEMORY_LOT,
    sandbox: flags.Sandbox = "auto",
    gpu_mode: flags.GpuMode = "auto",
    gpus: flags.Gpus = "all",
    early_stop: Annotated[bool, typer.Option(help="End trials that cannot reach their parent any more.")] = False,
    stop_at_plateau: flags.StopAtPlateau = False,
    finals: Annotated[
        bool, typer.Option(help="Hold a fifth of the trials for the finals, which alone say what is kept.")
    ] = True,
    start_up: Annotated[str, typer.Option(metavar="zygote|spawn", help="How a trial's processes begin.")] = "zygote",
    executor: flags.Executor = "local",
    notify: flags.Notify = None,
    on_event: flags.OnEvent = None,
    as_json: flags.Json = False,
) -> int:
    """Run a study: make the worktrees, start the workers, watch them until the limits are reached.

    The first Ctrl-C lets the running trials finish and the finals run, the second stops at once; [bold]swarm up
    --resume[/] goes on.
    """
    from swarm.cli.up import run_up
    from swarm.study.options import UpOptions, limit, named_workers

    options = UpOptions(
        given=flags.given(context),
        workers=workers,
        target=target,
        trials=limit("--trials", trials, int),
        hours=limit("--hours", hours, float),
        budget_s=budget_s,
        device=device,  # type: ignore[arg-type] # checked with the other choices in one place
        data=data,  # type: ignore[arg-type]
        proposer=proposer,
        worker_proposers=named_workers(worker or []),
        model=model,
        base_url=base_url,
        max_usd=limit("--max-usd", max_usd, float),
        max_tokens=limit("--max-tokens", max_tokens, int),
        price_in=price_in,
        price_out=price_out,
        brain=brain,
        seed=seed,
        resume=resume,
        memory=memory,  # type: ignore[arg-type]
        memory_lot=memory_lot,
        sandbox=sandbox,  # type: ignore[arg-type]
        gpu_mode=gpu_mode,  # type: ignore[arg-type]
        gpus=gpus,
        early_stop=early_stop,
        stop_at_plateau=stop_at_plateau,
        finals="auto" if finals else "off",
        start_up=start_up,  # type: ignore[arg-type]
        executor=executor,
    )
    return run_up(options, Path.cwd(), as_json=as_json, notify=notify, on_event=on_event)


@app.command()
def status(study: flags.Study = None, brain: flags.Brain = None, as_json: flags.Json = False) -> None:
    """Show the latest study: noise floor, ranking, workers, what was refused and why."""
    from swarm.cli.read import print_status

    print_status(brain, study, as_json=as_json)


@app.command()
def stop(
    now: Annotated[bool, typer.Option("--now", help="Stop the running trials too.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the end.")] = 900.0,
) -> int:
    """End the running study when its running trials are done, or --now. [bold]swarm up --resume[/] goes on later."""
    from swarm.cli.stop import stop_running

    return stop_running(Path.cwd(), now=now, timeout_s=timeout)


@app.command()
def log(
    trial: Annotated[str | None, typer.Argument(help="A trial such as t0007 or 7. Default: the whole study.")] = None,
    study: flags.Study = None,
    brain: flags.Brain = None,
    as_json: flags.Json = False,
) -> None:
    """Tell what happened: the whole study line by line, or one trial with its records and output."""
    from swarm.cli.log import print_log

    print_log(brain, study, trial, as_json=as_json)


@app.command()
def diff(
    trial: flags.Trial,
    base: Annotated[
        bool, typer.Option("--base", help="Compare with the study's first program, not with the parent.")
    ] = False,
    study: flags.Study = None,
    brain: flags.Brain = None,
) -> None:
    """Show what a trial changed."""
    from swarm.cli.programs import print_diff

    print_diff(brain, study, trial, against_base=base)


@app.command()
def show(trial: flags.Trial, study: flags.Study = None, brain: flags.Brain = None) -> None:
    """Print the program of a trial: the whole file that it ran."""
    from swarm.cli.programs import show_program

    show_program(brain, study, trial)


@app.command()
def adopt(
    trial: flags.Trial,
    branch: Annotated[str | None, typer.Option(help="Name of the branch. Default: adopted/STUDY/TRIAL.")] = None,
    study: flags.Study = None,
    brain: flags.Brain = None,
) -> None:
    """Write a trial's change onto a new branch for review. Your checkout is not touched."""
    from swarm.cli.programs import adopt_trial

    adopt_trial(brain, study, trial, branch)


@app.command()
def report(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for report.html and report.md.")] = Path("report"),
    study: flags.Study = None,
    brain: flags.Brain = None,
) -> None:
    """Write a ranked report with evidence: report.html stands alone, report.md goes into a pull request."""
    from swarm.cli.reporting import write_report

    write_report(brain, study, out)


@app.command()
def memory(study: flags.Study = None, brain: flags.Brain = None, as_json: flags.Json = False) -> None:
    """Show, per worker, whether the blackboard was used: citations, repeats refused, predictions, climbing."""
    from swarm.cli.read import print_memory

    print_memory(brain, study, as_json=as_json)


@app.command()
def compare(
    a: Annotated[
        str, typer.Argument(metavar="A", help="A proposer as for swarm up: tpe, openai:MODEL@URL, cli:NAME, ...")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The other one; the same again to compare memories.")],
    pairs: Annotated[int, typer.Option(help="Repeat with this many seeds; below 6 no difference is claimed.")] = 1,
    trials: Annotated[int, typer.Option(help="Trials of each arm in each pair, noise floor included.")] = 20,
    memory_a: Annotated[str, typer.Option(metavar="shared|off|shuffled", help="What A is shown.")] = "shared",
    memory_b: Annotated[str, typer.Option(metavar="shared|off|shuffled", help="What B is shown.")] = "shared",
    target: flags.Target = "resnext",
    budget_s: flags.BudgetS = None,
    device: flags.Device = "auto",
    data: flags.Data = "auto",
    max_usd: Annotated[float | None, typer.Option(help="Spend no more than this per arm and pair.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Use no more tokens than this per arm and pair.")] = None,
    price_in: flags.PriceIn = None,
    price_out: flags.PriceOut = None,
    seed: Annotated[int, typer.Option(help="Seed of the first pair; each further pair takes the next number.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for compare.md.")] = Path("report"),
    as_json: flags.Json = False,
) -> int:
    """Compare two proposers, or two memories, side by side from the same baseline on the same device.

    Both arms run at the same time, one worker each. The first Ctrl-C lets running trials finish, the second stops them.
    """
    from swarm.cli.compare import run_compare
    from swarm.compare import CompareOptions, named_arm

    given = {
        "--device": device,
        "--data": data,
        "--budget-s": budget_s,
        "--max-usd": max_usd,
        "--max-tokens": max_tokens,
        "--price-in": price_in,
        "--price-out": price_out,
    }
    options = CompareOptions(
        a=named_arm("A", a, memory_a),
        b=named_arm("B", b, memory_b),
        pairs=pairs,
        trials=trials,
        target=target,
        seed=seed,
        passed_on=tuple(word for flag, value in given.items() if value is not None for word in (flag, str(value))),
    )
    return run_compare(options, Path.cwd(), out, as_json=as_json)


app.command()(checking.doctor)
app.command()(own.init)
app.command()(drill.drill)
app.command()(watch.watch)
app.command()(exporting.export)
app.command()(nodes)
app.command()(checking.verify)
app.command()(checking.attribute)
app.command()(decide.finals)
app.command()(decide.certify)
app.command()(decide.calibrate)
add_examples(app)
