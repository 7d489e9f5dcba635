"""The options that several commands have or that take a paragraph to describe."""

from pathlib import Path
from typing import Annotated

import typer

HELP = {"help_option_names": ["-h", "--help"]}

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Brain = Annotated[
    Path | None, typer.Option("--brain", metavar="PATH", help="The blackboard. Default: swarm_brain.jsonl.")
]
Study = Annotated[
    str | None, typer.Option("--study", metavar="ID", help="Its id or the beginning of it. Default: the latest.")
]
Trial = Annotated[str, typer.Argument(help="A trial such as t0007 or 7.")]

Target = Annotated[str, typer.Option(metavar="NAME|PATH", help="resnext, gpt, prompts, ... or a target folder.")]
Device = Annotated[str, typer.Option(metavar="auto|cuda|cpu", help="auto: a GPU where there is one.")]
Data = Annotated[
    str,
    typer.Option(
        metavar="auto|cifar100|kjv|standin", help="standin: images or text made by a formula, no claim about real ones."
    ),
]
BudgetS = Annotated[
    float | None, typer.Option("--budget-s", help="Seconds of training a trial. Default: the target's profile.")
]
PriceIn = Annotated[float | None, typer.Option(help="USD per million input tokens, if not known.")]
PriceOut = Annotated[float | None, typer.Option(help="USD per million output tokens.")]

Trials = Annotated[
    str | None,
    typer.Option(metavar="N|unlimited", help="End after this many trials in all. Default: go on until stopped."),
]
Hours = Annotated[str | None, typer.Option(metavar="H|unlimited", help="Start no trial after this many hours.")]
MaxUsd = Annotated[
    str | None, typer.Option(metavar="USD|unlimited", help="Spend no more than this on models in the study.")
]
MaxTokens = Annotated[
    str | None, typer.Option(metavar="N|unlimited", help="Use no more tokens than this in the study.")
]

StopAtPlateau = Annotated[
    bool,
    typer.Option(
        help="End the search, and begin its finals, when half of all proposals and 60 at least bring no lead."
    ),
]
Proposer = Annotated[
    str,
    typer.Option(
        metavar="SPEC",
        help="auto, embedded, model-based, tpe, openai:MODEL@URL, cli:NAME or scripted:FILE. auto asks a language "
        "model when one is named (--model, SWARM_MODEL) and OPENAI_API_KEY or OPENAI_BASE_URL is set.",
    ),
]
Notify = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Tell this web address of a new leader, the end, trouble, and 80 % of the money: as JSON, or as Slack, "
        "Discord and ntfy want it. SWARM_NOTIFY instead keeps it out of the list of processes.",
    ),
]
OnEvent = Annotated[
    str | None,
    typer.Option(
        "--on-event", metavar="COMMAND", help="Run this shell command for each such event; its JSON is on stdin."
    ),
]
Worker = Annotated[
    list[str] | None,
    typer.Option("--worker", metavar="ID=SPEC", help="A proposer for one worker: worker_1=openai:MODEL@URL."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the latest study, with all that is not given here as it was.")
]
Memory = Annotated[
    str, typer.Option(metavar="shared|own|off|shuffled", help="Which earlier trials proposers are shown.")
]
MEMORY_LOT = 0.1  # as UpOptions has it; a test compares them, since --help imports little
MemoryLot = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="Of the models' proposals, drawn by lot: half get shuffled results, half no memory. The report compares.",
    ),
]
Sandbox = Annotated[
    str, typer.Option(metavar="auto|strict|none", help="strict refuses to run with less than the full sandbox.")
]
Executor = Annotated[
    str,
    typer.Option(
        metavar="local|nodes[:PORT]|ray[:ADDRESS]|slurm[:JOBS]",
        help="Where trials run. nodes: on machines that join by `swarm node run`. ray: on each node of a cluster, or "
        "on one started here. slurm: on nodes that so many jobs bring.",
    ),
]
GpuMode = Annotated[
    str,
    typer.Option(
        metavar="auto|shared|exclusive",
        help="exclusive: one training at a time on a device. auto: as `swarm calibrate` advised, else shared.",
    ),
]

Gpus = Annotated[
    str,
    typer.Option(
        metavar="all|0,1|UUID",
        help="Cards that trials may have, all of one model. all: every visible one of the first card's model.",
    ),
]


def given(context: typer.Context) -> frozenset[str]:
    """The options that a person named, also where the value is the default."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")
