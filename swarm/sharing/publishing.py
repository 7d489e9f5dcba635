"""A study's own findings, and what came of those of others here. Pure: records in, values out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from swarm import verdict
from swarm.records import one_line
from swarm.sharing.change import edits_between
from swarm.sharing.finding import MAX_NOTE, Finding, Measured, Replication
from swarm.study.state import Program, StudyState
from swarm.verdict.standing import Standing, kept, standing

SHARE_CODE: Final = "share"  # why a finding had to wait, among the refusals
SHARE = 0.1  # of a study's trials, for the findings of one remote
ARM = "import:"  # the arm of a remote's findings, in front of the remote's name


@dataclass(frozen=True)
class Author:
    """Who tells it, when, and about which data and machine."""

    swarm: str
    at: float
    data_sha256: str
    device_class: str
    note: str = ""


def finding_of(study: StudyState, program: Program, text: Callable[[Program], str], author: Author) -> Finding:
    """A program as its change of the study's first one. Raises Unfit, and ValueError for one without a result."""
    assert study.baseline is not None
    return Finding(
        swarm=author.swarm,
        at=author.at,
        target=study.opened.target,
        harness_sha256=study.opened.harness_sha256,
        data_sha256=author.data_sha256,
        base_tree_sha256=study.opened.base_tree_sha256,
        edits=edits_between(text(study.baseline), text(program), study.opened.editable),
        measured=measured(study, program),
        standing=standing(study, program).value,
        device_class=author.device_class[:120],
        budget=f"{study.opened.budget.amount:g} {study.opened.budget.kind}",
        note=one_line(author.note, MAX_NOTE),
    )


def worth_telling(study: StudyState) -> list[Program]:
    """What is kept and was found here."""
    return [program for program in kept(study) if not program.first.claim.arm.startswith(ARM)]


def replications(study: StudyState, author: Author) -> Iterator[Replication]:
    """Of each finding of others that has a result here."""
    for program in study.programs.values():
        claim = program.first.claim
        if not claim.arm.startswith(ARM) or not program.costs or program.open_trials:
            continue
        yield Replication(
            swarm=author.swarm,
            at=author.at,
            finding=claim.proposer.rpartition("/")[2],
            harness_sha256=study.opened.harness_sha256,
            data_sha256=author.data_sha256,
            measured=measured(study, program),
            standing=standing(study, program).value,
            device_class=author.device_class[:120],
        )


def measured(study: StudyState, program: Program) -> Measured:
    """Raises ValueError while one of the two has no result."""
    if study.baseline is None or not study.baseline.costs or not program.costs:
        raise ValueError(f"{program.name} has no result beside the baseline")
    noise, maximized = verdict.study_noise(study), study.objective.maximized
    sign = -1.0 if maximized else 1.0
    return Measured(
        metric=study.objective.name[:120],
        direction="maximize" if maximized else "minimize",
        runs=len(program.costs),
        mean=sign * fmean(program.costs),
        base_mean=sign * fmean(study.baseline.costs),
        sigma=noise.sigma if noise is not None else None,
    )


@dataclass(frozen=True)
class Trust:
    """What of a remote's findings was tried here, and how many of them lead or are kept."""

    tried: int
    confirmed: int


def trust(study: StudyState, remote: str) -> Trust:
    own = [p for p in study.programs.values() if p.first.claim.arm == f"{ARM}{remote}" and not p.open_trials]
    good = sum(standing(study, p) in (Standing.KEPT, Standing.LEADING, Standing.SUPERSEDED) for p in own)
    return Trust(len(own), good)


def within_share(study: StudyState, arm: str) -> bool:
    """Whether one more trial of a remote's findings leaves them at a tenth of all, their replicates included."""
    own = sum(study.program_of(name).first.claim.arm == arm for name in study.trials)
    return own + 1 <= SHARE * (len(study.trials) + 1)
