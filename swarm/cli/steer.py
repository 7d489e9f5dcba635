"""`swarm steer`: a person's word to the workers of a study, while it runs or before it goes on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.flags import HELP, Brain, Study

if TYPE_CHECKING:
    from swarm.study.steering import Action

steer_app = typer.Typer(
    help="Tell the workers something while the study runs: a hint, or what not to touch.",
    no_args_is_help=True,
    context_settings=HELP,
)

Text = Annotated[str, typer.Argument(help="One line, up to 300 characters.")]
Program = Annotated[str, typer.Argument(help="A program or trial such as t0007 or 7.")]
Why = Annotated[str, typer.Option(help="The reason, told to the models.")]
Trials = Annotated[str | None, typer.Option(help="Trials in all, its finals included, or `unlimited`.")]
Hours = Annotated[str | None, typer.Option(help="It ends so many hours from now, or `unlimited`.")]
Family = Annotated[str, typer.Argument(help="Such as schedule, augmentation or architecture.")]


LATER = " The study has ended: it counts when you go on with `swarm up --resume`."


@steer_app.command()
def note(text: Text, study: Study = None, brain: Brain = None) -> None:
    """Tell the models something: each prompt has it from now on. The embedded proposers do not read it."""
    _steer(brain, study, "note", "", text)


@steer_app.command()
def veto(family: Family, why: Why = "", study: Study = None, brain: Brain = None) -> None:
    """Refuse every change of a family from now on, whoever proposes it. Running trials go on to their end."""
    _steer(brain, study, "veto", family, why)


@steer_app.command()
def allow(family: Family, study: Study = None, brain: Brain = None) -> None:
    """Lift a veto."""
    _steer(brain, study, "allow", family, "")


@steer_app.command()
def pin(program: Program, why: Why = "", study: Study = None, brain: Brain = None) -> None:
    """Ask the models to build on a program. A hint: the embedded proposers do not read it."""
    _steer(brain, study, "pin", program, why)


@steer_app.command()
def boost(family: Family, why: Why = "", study: Study = None, brain: Brain = None) -> None:
    """Ask the models for more changes of a family. A hint: the embedded proposers do not read it."""
    _steer(brain, study, "boost", family, why)


@steer_app.command()
def budget(trials: Trials = None, hours: Hours = None, why: Why = "", study: Study = None, brain: Brain = None) -> None:
    """Give the study more trials or more time, or less: not below what it has claimed. The workers go by it at once."""
    from swarm.cli.read import find_study, open_brain
    from swarm.clock import SystemClock
    from swarm.errors import UsageError
    from swarm.watch.steering import change_limits

    asked = {name: text for name, text in (("trials", trials), ("hours", hours)) if text is not None}
    if not asked:
        raise UsageError("nothing is asked for: give --trials, --hours or both")
    opened = open_brain(brain)
    chosen = find_study(opened, study)
    said = change_limits(opened, chosen.study_id, asked, why, SystemClock().now())
    print(f"{said}{'' if chosen.closed is None else LATER}")


def _steer(brain: Path | None, study_id: str | None, action: "Action", subject: str, text: str) -> None:
    from swarm.cli.read import find_study, find_trial, open_brain
    from swarm.errors import UsageError
    from swarm.study.steering import steer
    from swarm.watch.steering import home_of

    opened = open_brain(brain)
    study = find_study(opened, study_id)
    if home_of(opened, study.study_id) is None:
        raise UsageError(f"{study.study_id} was not run here, so nobody would read it: steer it where it runs")
    if action == "pin":
        subject = find_trial(study, subject).claim.program
    opened.append(steer(study, action, subject, text))
    vetoed = f" Vetoed now: {', '.join(find_study(opened, study.study_id).vetoes) or 'nothing'}."
    when = "" if study.closed is None else LATER
    print(f"Written to {study.study_id}.{when}{vetoed if action in ('veto', 'allow') else ''}")
