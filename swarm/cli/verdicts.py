"""`swarm verdicts`: what its verdicts can find, before a night is spent on it."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli import flags
from swarm.errors import UsageError

if TYPE_CHECKING:
    from swarm.study.state import StudyState
    from swarm.target.objective import Objective
    from swarm.verdict.planning import Planned
    from swarm.verdict.simulation import Night, Terms

MOST_NIGHTS = 10_000
CHUNK = 25

verdicts_app = typer.Typer(
    help="What the verdicts of a study can find.", no_args_is_help=True, context_settings=flags.HELP
)


@verdicts_app.callback()
def _root() -> None:
    pass


@verdicts_app.command()
def simulate(
    slots: Annotated[
        int | None, typer.Option(metavar="N", help="Trials of the night. Default: as many as the study has, or 100.")
    ] = None,
    nights: Annotated[int, typer.Option(help="Simulated nights of each row.")] = 200,
    study: flags.Study = None,
    brain: flags.Brain = None,
    as_json: flags.Json = False,
) -> None:
    """Say what a night of N slots can find with the study's own noise: gain, chance to be found, false nights.

    Simulated through the functions that swarm up calls: normal noise that is the same for all programs, and one change
    that helps.
    """
    from swarm.cli.read import find_study, open_brain
    from swarm.verdict.planning import GAINS, planned

    if not 1 <= nights <= MOST_NIGHTS:
        raise UsageError(f"--nights is {nights}; it is 1 to {MOST_NIGHTS}")
    found = find_study(open_brain(brain), study)
    terms = night_of(found, slots)
    gains = (0.0, *GAINS)
    nulls, *planted = _simulated(terms, gains, nights)
    told = planned(found, terms, nulls, dict(zip(GAINS, planted, strict=True)))
    print(told.model_dump_json() if as_json else planned_text(told, found.objective))


def night_of(study: "StudyState", slots: int | None) -> "Terms":
    """Raises UsageError before the noise floor is measured, and for a number that cannot be simulated."""
    from swarm.verdict.planning import FEWEST_SLOTS, MOST_SLOTS, terms_of

    terms = terms_of(study, slots)
    if terms is None:
        name = study.study_id
        raise UsageError(f"study {name} has no noise floor yet: `swarm calibrate` or `swarm up` measure it first")
    if not FEWEST_SLOTS <= terms.slots <= MOST_SLOTS:
        raise UsageError(f"--slots is {terms.slots}; it is {FEWEST_SLOTS} to {MOST_SLOTS}")
    return terms


def planned_text(told: "Planned", objective: "Objective") -> str:
    unit = f" ({objective.unit})" if objective.unit else ""
    sigma = objective.with_unit(objective.size(told.sigma))
    lines = [
        f"{told.slots} slots, {told.held} of them for the finals, {told.workers} workers; sigma {sigma} "
        f"({told.degrees} degrees of freedom); {told.nights} simulated nights a row",
        f"{'gain (sigma)':>12}  {f'gain{unit}':>14}  {'found':>6}  {'95 % interval':>14}  {'told too high':>14}",
    ]
    for one in told.gains:
        between = f"{one.found.low:.0%} to {one.found.high:.0%}"
        apart = f"{one.told_minus_true:+.2f} sigma" if one.told_minus_true is not None else "n/a"
        size = objective.size(one.size)
        lines.append(f"{one.gain:>12g}  {size:>14}  {one.found.share:>6.0%}  {between:>14}  {apart:>14}")
    false, between = told.false_nights, f"{told.false_nights.low:.1%} to {told.false_nights.high:.1%}"
    lines.append(f"false nights: {false.share:.1%} ({between}) of those in which nothing helps")
    if not told.held:
        lines.append("Without slots for the finals nothing is kept: from 30 on there are some; `swarm finals` adds 12.")
    return "\n".join(lines)


def _simulated(terms: "Terms", gains: Sequence[float], nights: int) -> list[list["Night"]]:
    """By gain. On all cores: a night takes some hundredths of a second."""
    from swarm.verdict.simulation import nights as simulated

    parts = [range(start, min(start + CHUNK, nights)) for start in range(0, nights, CHUNK)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = [[pool.submit(simulated, terms, gain, part) for part in parts] for gain in gains]
        return [[one for job in row for one in job.result()] for row in jobs]
