"""`swarm steer`: a person's word to the workers of a study, while it runs or before it goes on."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from swarm.cli.flags import HELP, Brain, Study

steer_app = typer.Typer(
    help="Tell the workers something while the study runs: a hint, or what not to touch.",
    no_args_is_help=True,
    context_settings=HELP,
)

Text = Annotated[str, typer.Argument(help="One line, up to 300 characters.")]
Family = Annotated[str, typer.Argument(help="Such as schedule, augmentation or architecture.")]


@steer_app.command()
def note(text: Text, study: Study = None, brain: Brain = None) -> None:
    """Tell the models something: each prompt has it from now on. The embedded proposers do not read it."""
    _steer(brain, study, "note", "", text)


@steer_app.command()
def veto(
    family: Family,
    why: Annotated[str, typer.Option(help="The reason, told to the models.")] = "",
    study: Study = None,
    brain: Brain = None,
) -> None:
    """Refuse every change of a family from now on, whoever proposes it. Running trials go on to their end."""
    _steer(brain, study, "veto", family, why)


@steer_app.command()
def allow(family: Family, study: Study = None, brain: Brain = None) -> None:
    """Lift a veto."""
    _steer(brain, study, "allow", family, "")


def _steer(
    brain: Path | None, study_id: str | None, action: Literal["note", "veto", "allow"], subject: str, text: str
) -> None:
    from swarm.cli.read import find_study, open_brain
    from swarm.errors import UsageError
    from swarm.program.families import FAMILIES, OTHER
    from swarm.records import MAX_DESCRIPTION, Steer

    known = (*FAMILIES, OTHER)
    if action != "note" and subject not in known:
        raise UsageError(f"there is no family {subject!r}; the families are {', '.join(known)}")
    if len(text) > MAX_DESCRIPTION:
        raise UsageError(f"the text has {len(text)} characters; at most {MAX_DESCRIPTION} are kept: shorten it")
    if action == "note" and not text.strip():
        raise UsageError("the note is empty")
    opened = open_brain(brain)
    study = find_study(opened, study_id)
    if action == "allow" and subject not in study.vetoes:
        raise UsageError(f"{subject} is not vetoed in {study.study_id}; vetoed: {', '.join(study.vetoes) or 'nothing'}")
    opened.append(
        Steer(agent_id="person", study_id=study.study_id, action=action, subject=subject, description=text.strip())
    )
    vetoed = f" Vetoed now: {', '.join(find_study(opened, study.study_id).vetoes) or 'nothing'}."
    when = "." if study.closed is None else ", which has ended: it counts when you go on with `swarm up --resume`."
    print(f"Written to {study.study_id}{when}{'' if action == 'note' else vetoed}")
