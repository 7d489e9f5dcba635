"""What is each edit of a program worth? Leave-one-out, on runs made for the question alone. Pure.

The program, and for each edit of its line the program without that edit, are run on fresh seeds side by side. The
difference of the two means is what the edit gains *in the company of the others*: two edits that do the same each look
worthless alone, which is why those that look so are also left out together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from swarm.records import Operator
from swarm.study.lineage import ancestors
from swarm.study.state import Program, StudyState
from swarm.verdict.decisions import TIE_SIGMAS, study_noise
from swarm.verdict.evidence import student_tail

ARM = "attribute"
SURE = 0.95  # of the intervals


@dataclass(frozen=True, slots=True)
class Step:
    """One edit of a line: the program that made it, and its parent."""

    name: str
    before: str
    description: str


@dataclass(frozen=True, slots=True)
class Contribution:
    """What the edits `left_out` gain: mean cost without them minus mean cost with all, positive is a gain.

    `program` is the one without them. The interval is two-sided 95 % (Student's t, one variance for all programs of the
    attribution, pooled with the noise floor).
    """

    left_out: tuple[str, ...]
    program: str
    gain: float
    low: float
    high: float
    runs: int


def steps(study: StudyState, subject: Program) -> list[Step]:
    """The edits of a program's line, oldest first."""
    line = [*reversed(ancestors(study, subject)), subject]
    return [Step(after.name, before.name, after.first.claim.description) for before, after in pairwise(line)]


def costs_of(program: Program) -> list[float]:
    """Of its runs for attributions: the others were chosen by the search."""
    return [trial.cost for trial in program.trials if trial.claim.arm == ARM and trial.cost is not None]


def without(study: StudyState, subject: Program, left_out: Sequence[str]) -> Program | None:
    """The program of an attribution that is the subject without these edits, None when nobody made it yet.

    Without its last edit a program is its parent.
    """
    if tuple(left_out) == (subject.name,):
        return study.programs[subject.parent] if subject.parent is not None else None
    return next(
        (
            program
            for program in study.programs.values()
            if program.parent == subject.name and program.first.claim.left_out == tuple(left_out)
        ),
        None,
    )


def subjects(study: StudyState) -> list[Program]:
    """Programs that an attribution was made of: run for it, with at least one program without an edit of theirs."""
    tried = [one for one in study.programs.values() if one.first.claim.operator is not Operator.ABLATE]
    return [program for program in tried if costs_of(program) and _variants(study, program)]


def contributions(study: StudyState, subject: Program) -> list[Contribution]:
    """Of each edit that could be left out and has been run, in the order of the line; then of several together."""
    own, found = costs_of(subject), _variants(study, subject)
    scale = _scale(study, [own, *(costs_of(program) for _, program in found)])
    if scale is None or not own:
        return []
    sigma, degrees = scale
    made = []
    for left_out, program in found:
        costs = costs_of(program)
        gain = fmean(costs) - fmean(own)
        reach = quantile(degrees) * sigma * (1 / len(costs) + 1 / len(own)) ** 0.5
        made.append(Contribution(left_out, program.name, gain, gain - reach, gain + reach, len(costs)))
    return made


def worthless(study: StudyState, subject: Program) -> list[str]:
    """Edits without which the program is as good: within a quarter of a sigma, or better."""
    noise = study_noise(study)
    limit = TIE_SIGMAS * noise.sigma if noise is not None else 0.0
    return [one.left_out[0] for one in contributions(study, subject) if len(one.left_out) == 1 and one.gain <= limit]


def smallest(study: StudyState, subject: Program) -> Program:
    """The shortest program of the attribution that is as good as the subject, else the subject itself."""
    noise = study_noise(study)
    limit = TIE_SIGMAS * noise.sigma if noise is not None else 0.0
    as_good = [study.programs[one.program] for one in contributions(study, subject) if one.gain <= limit]
    return min([subject, *as_good], key=lambda program: program.first.claim.source_lines)


def quantile(degrees: int, sure: float = SURE) -> float:
    """Two-sided, of Student's t; found by halving."""
    low, high = 0.0, 1000.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, degrees) > (1 - sure) / 2 else (low, middle)
    return high


def _variants(study: StudyState, subject: Program) -> list[tuple[tuple[str, ...], Program]]:
    one_each = [(step.name,) for step in steps(study, subject)]
    several = [
        program.first.claim.left_out
        for program in study.programs.values()
        if program.first.claim.operator is Operator.ABLATE
        and program.parent == subject.name
        and len(program.first.claim.left_out) > 1
    ]
    found = [(left_out, without(study, subject, left_out)) for left_out in (*one_each, *several)]
    return [(left_out, program) for left_out, program in found if program is not None and costs_of(program)]


def _scale(study: StudyState, groups: Sequence[Sequence[float]]) -> tuple[float, int] | None:
    """Standard deviation between seeds and its degrees of freedom: these runs and the noise floor together."""
    noise = study_noise(study)
    squares = sum((cost - fmean(group)) ** 2 for group in groups if group for cost in group)
    degrees = sum(len(group) - 1 for group in groups if group)
    if noise is not None:
        squares, degrees = squares + noise.sigma**2 * noise.degrees, degrees + noise.degrees
    return ((squares / degrees) ** 0.5, degrees) if degrees else None
