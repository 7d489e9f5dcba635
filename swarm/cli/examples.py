"""What each command is in few words, and how it is called: for the list of commands and the end of each help."""

from collections.abc import Iterator
from dataclasses import dataclass

import typer


@dataclass(frozen=True, slots=True)
class Words:
    """`short` fits a line of 80 columns beside the name."""

    short: str
    examples: tuple[str, ...]


EXAMPLES: dict[str, Words] = {
    "up": Words(
        "Run a study until its limits; --resume goes on with it.",
        (
            "swarm up --workers 2 --trials 40",
            "swarm up --hours 8 --proposer openai:MODEL@http://localhost:8000/v1",
            "swarm up --resume --trials 80",
        ),
    ),
    "status": Words(
        "Show where the latest study stands.",
        ("swarm status", "swarm status --json", "swarm status --study resnext-2026"),
    ),
    "stop": Words("End the running study when its trials are done, or --now.", ("swarm stop", "swarm stop --now")),
    "log": Words(
        "Tell what happened in a study, or in one trial.", ("swarm log", "swarm log t0007", "swarm log --json")
    ),
    "diff": Words("Show what a trial changed.", ("swarm diff t0007", "swarm diff 7 --base")),
    "show": Words("Print the program of a trial.", ("swarm show t0007", "swarm show 7 > train.py")),
    "adopt": Words(
        "Write a trial's change onto a new branch, for review.",
        ("swarm adopt t0007", "swarm adopt 7 --branch wider-stem"),
    ),
    "export": Words(
        "Give the finished trials to other tools.",
        ("swarm export > results.tsv", "swarm export parquet", "swarm export optuna --out exports"),
    ),
    "report": Words(
        "Write the ranked report: report.html and report.md.", ("swarm report", "swarm report --out report/monday")
    ),
    "memory": Words("Show whether the workers used the blackboard.", ("swarm memory", "swarm memory --json")),
    "compare": Words(
        "Compare two proposers side by side.",
        ("swarm compare tpe embedded --pairs 6", "swarm compare tpe tpe --memory-b off --trials 30"),
    ),
    "doctor": Words("Say what this machine can do.", ("swarm doctor", "swarm doctor --agents")),
    "drill": Words("Try the promises on this machine, in a minute.", ("swarm drill", "swarm drill --json")),
    "watch": Words(
        "Watch a study live; --web as a page.",
        ("swarm watch", "swarm watch --web", "swarm watch --once --brain copy.jsonl"),
    ),
    "verify": Words(
        "Check the brain's chain; --rerun runs a trial again.", ("swarm verify", "swarm verify --rerun t0007")
    ),
    "attribute": Words("Say what each edit of a program is worth.", ("swarm attribute t0031",)),
    "finals": Words(
        "Run the finals now: only they say what is kept.", ("swarm finals", "swarm finals --study resnext-2026")
    ),
    "certify": Words("Look once at the test split with what is kept.", ("swarm certify",)),
    "calibrate": Words(
        "Measure the noise, and whether to share the device.", ("swarm calibrate", "swarm calibrate --device cpu")
    ),
    "nodes": Words("Show the nodes of the running study.", ("swarm nodes", "swarm nodes --json")),
    "share": Words("Tell other swarms what was found here; try theirs.", ("swarm share list",)),
    "share publish": Words("Sign and publish what is kept.", ("swarm share publish git@example.org:us/findings.git",)),
    "share fetch": Words(
        "Take what keys of your list have signed.", ("swarm share fetch them git@example.org:them/findings.git",)
    ),
    "share list": Words("Show what was fetched, and how it did here.", ("swarm share list",)),
    "init": Words(
        "Make a target of your own repository.",
        ("swarm init", 'swarm init --command "python train.py" --metric val_loss --yes'),
    ),
    "target": Words("Check a target before a night is spent on it.", ("swarm target check my-target",)),
    "target check": Words("Let sample programs cheat on a target.", ("swarm target check my-target",)),
    "brain": Words(
        "Merge brain files; carry programs to a clone.", ("swarm brain merge swarm_brain.jsonl other.jsonl",)
    ),
    "brain merge": Words(
        "Add the records of one brain to another.",
        ("swarm brain merge swarm_brain.jsonl other.jsonl", "swarm brain merge a.jsonl b.jsonl --out both.jsonl"),
    ),
    "brain bundle": Words("Write the programs beside the brain, for clones.", ("swarm brain bundle",)),
    "gpu": Words("Device memory: who holds it, and what if.", ("swarm gpu status",)),
    "gpu status": Words("Show reservations, and who waits for what.", ("swarm gpu status", "swarm gpu status --json")),
    "gpu selftest": Words("Try the promises on the real card.", ("swarm gpu selftest",)),
    "gpu simulate": Words("Plan trials on cards that you do not have.", ("swarm gpu simulate",)),
    "steer": Words("Tell the workers something while a study runs.", ('swarm steer note "try a longer warm-up"',)),
    "steer note": Words("Tell the models something.", ('swarm steer note "try a longer warm-up"',)),
    "steer veto": Words("Refuse every change of a family.", ('swarm steer veto augmentation --why "too slow"',)),
    "steer allow": Words("Lift a veto.", ("swarm steer allow augmentation",)),
    "steer pin": Words("Ask the models to build on a program.", ("swarm steer pin t0012",)),
    "steer boost": Words("Ask the models for more of a family.", ("swarm steer boost schedule",)),
    "steer budget": Words(
        "Give the study more trials or time, or less.",
        ("swarm steer budget --trials 120", "swarm steer budget --hours 2 --trials unlimited"),
    ),
    "pod": Words("Rent a card by the hour, and bring all home.", ("swarm pod list",)),
    "pod up": Words(
        "Rent a pod and run a study in it.",
        (
            'swarm pod up --gpu "NVIDIA GeForce RTX 4090" --hours 8 --max-usd 5',
            'swarm pod up --fake --gpu "NVIDIA GeForce RTX 4090" --hours 0.3 --max-usd 1',
        ),
    ),
    "pod list": Words("Show every pod that may cost money now.", ("swarm pod list", "swarm pod list --json")),
    "pod status": Words("Show one pod: phase, cost, deadline.", ("swarm pod status",)),
    "pod logs": Words("Print what the study in the pod prints.", ("swarm pod logs",)),
    "pod watch": Words("Follow the pod's study from here.", ("swarm pod watch",)),
    "pod sync": Words("Bring home what there is now.", ("swarm pod sync",)),
    "pod ssh": Words("Open a shell in the pod.", ("swarm pod ssh",)),
    "pod stop": Words("Give the card back and keep the disk.", ("swarm pod stop",)),
    "pod down": Words("End the pod, after bringing all home.", ("swarm pod down",)),
    "verdicts": Words("What the verdicts of a study can find.", ("swarm verdicts simulate",)),
    "verdicts simulate": Words(
        "Say what a night of N slots can find.", ("swarm verdicts simulate", "swarm verdicts simulate --json")
    ),
    "node": Words("Be a node: run trials for a study elsewhere.", ("swarm node run --help",)),
    "node run": Words("Run trials until the study ends.", ("swarm node run --help",)),
}


def add_examples(app: typer.Typer) -> None:
    """To every command below `app` that has an entry here; a test says which have none."""
    for name, info in _infos(app, ""):
        if words := EXAMPLES.get(name):
            info.short_help = words.short
            info.epilog = "\n\n".join(("[bold]Examples[/]", *words.examples))


def _infos(app: typer.Typer, above: str) -> Iterator[tuple[str, typer.models.CommandInfo | typer.models.TyperInfo]]:
    for command in app.registered_commands:
        assert command.callback is not None
        yield f"{above}{command.name or command.callback.__name__.replace('_', '-')}", command
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield f"{above}{group.name}", group
        yield from _infos(group.typer_instance, f"{above}{group.name} ")
