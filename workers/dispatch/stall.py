"""How the search is doing: which families rest, how long nothing took the lead, and what the curves say about it."""

from collections.abc import Sequence
from statistics import fmean

from swarm.records import Decision, TrialFinished, TrialState
from swarm.study.state import Program, StudyState
from swarm.verdict.plateau import ended_since, in_order_of_ending, is_discarded, last_lead, stalled_for

DIAGNOSIS = "diagnosis"  # topic of the notes
STALL = 5  # finished proposals without a new leader
RESTART = 2 * STALL  # then the jumper starts from another lineage
DISCARDS_TO_COOL = 3
COOLED_FOR = 5  # finished proposals

GAP = 0.25  # of the training loss, in nats: above it the program overfits its budget
STILL_FALLING = 0.02  # relative fall of the training loss over the last fifth of the budget
UNUSED_MEMORY = 0.5  # of the device
TAIL = 0.2


def leads_or_kept(program: Program) -> bool:
    return program.verdict is not None and (program.verdict.leads or program.verdict.decision == Decision.KEEP)


def cooled_families(study: StudyState) -> tuple[str, ...]:
    """Families with three discards and no success in between, for the five finished proposals after the third."""
    discards: dict[str, int] = {}
    cooled_at: dict[str, int] = {}
    finished = in_order_of_ending(study)
    for index, program in enumerate(finished, start=1):
        family = program.first.claim.family
        if leads_or_kept(program):
            discards.pop(family, None)
            cooled_at.pop(family, None)
        elif is_discarded(program):
            discards[family] = discards.get(family, 0) + 1
            if discards[family] >= DISCARDS_TO_COOL:
                cooled_at[family], discards[family] = index, 0
    return tuple(family for family, index in cooled_at.items() if len(finished) - index < COOLED_FOR)


def diagnosis_due(study: StudyState) -> bool:
    """Whether five proposals finished since the last new leader and since the last diagnosis in the brain."""
    written = max((note.seq for note in study.notes if note.topic == DIAGNOSIS), default=0)
    return ended_since(study, max(written, last_lead(study))) >= STALL


def diagnose(study: StudyState, device_mib: int | None = None) -> str:
    """Why nothing took the lead lately, as far as the incumbent's own runs tell, and which families answer to it.

    A rule of thumb for people, models and the edit library, which prefers the families that it names; no measurement.
    """
    runs = _scored_runs(study.incumbent)
    findings = [_about_gap(runs), _about_slope(runs), _about_memory(runs, device_mib)]
    lines = [f"{stalled_for(study)} proposals finished without a new leader.", *filter(None, findings)]
    if len(lines) == 1:
        lines.append("The incumbent's curves name no cause: try families that were tried least.")
    if stalled_for(study) >= RESTART:
        lines.append("The jumper starts from the best other lineage.")
    return " ".join(lines)


def _about_gap(runs: Sequence[TrialFinished]) -> str | None:
    gaps = [run.score.validation_loss - run.curve[-1][1] for run in runs if run.score and run.curve]
    if not gaps or fmean(gaps) <= GAP:
        return None
    return (
        f"The validation loss is {fmean(gaps):.2f} above the training loss: it overfits. "
        "Families: regularisation, augmentation, averaging."
    )


def _about_slope(runs: Sequence[TrialFinished]) -> str | None:
    falls = [fall for run in runs if (fall := _fall_at_the_end(run.curve)) is not None]
    if not falls or fmean(falls) <= STILL_FALLING:
        return None
    return (
        f"The training loss still fell by {100 * fmean(falls):.0f} % in the last fifth of the budget: it learns too "
        "slowly. Families: optimiser, schedule, batch, architecture (a faster one)."
    )


def _about_memory(runs: Sequence[TrialFinished], device_mib: int | None) -> str | None:
    peaks = [run.resources.peak_mib for run in runs if run.resources and run.resources.peak_mib]
    if not peaks or device_mib is None or max(peaks) > (1 - UNUSED_MEMORY) * device_mib:
        return None
    return f"It uses {max(peaks)} of {device_mib} MiB. Families: batch, architecture (a wider one)."


def _fall_at_the_end(curve: Sequence[tuple[float, float]]) -> float | None:
    """Relative fall of the training loss over the last fifth; the means of its two halves, since steps are noisy."""
    tail = [loss for progress, loss in curve if progress >= 1 - TAIL]
    if len(tail) < 4:
        return None
    first, second = fmean(tail[: len(tail) // 2]), fmean(tail[len(tail) // 2 :])
    return 2 * (first - second) / first if first > 0 else None


def _scored_runs(program: Program | None) -> list[TrialFinished]:
    trials = program.trials if program is not None else []
    finished = [trial.finished for trial in trials if trial.finished is not None]
    return [run for run in finished if run.state == TrialState.COMPLETE]
