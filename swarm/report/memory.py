"""Did the workers use what the swarm knows? Counted from the records, for each worker and each of its proposers.

The citation lift is the share of gains among proposals that cite a program which had helped by then, minus the share
among those that cite none. Both sides are proposals of the same worker or proposer, made when there was such a program
to cite, since the first proposals of a study have it easier than all later ones. Its 95 % interval is Newcombe's hybrid
score interval (1998, method 10), which holds for small counts and for shares of 0 and 1. Whoever cites chose to, so a
lift is no proof that the memory caused it: the control is a run under `--memory shuffled`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean

from pydantic import BaseModel, ConfigDict

from swarm.records import Decision, Operator, ProposalClaimed, ProposalRejected
from swarm.study.state import Program, StudyState
from swarm.target.objective import UNKNOWN, Objective
from swarm.verdict.standing import GAINS, standing

DUPLICATE_CODES = frozenset({"duplicate", "near_duplicate", "no_change"})
ALL = "all"  # in place of a proposer's name: every proposal of the worker
_OWN_IDEAS = frozenset({Operator.TUNE, Operator.STRUCTURAL, Operator.RECOMBINE, Operator.ABLATE})
_Z = 1.959964  # of a 95 % interval


class Lift(BaseModel):
    """A difference of two shares with its 95 % interval, over `citing` and `others` proposals."""

    model_config = ConfigDict(frozen=True)

    mean: float
    low: float
    high: float
    citing: int
    others: int


class MemoryRow(BaseModel):
    """One worker, or one of its proposers. Shares are None where there is nothing to take a share of.

    A citation is valid when its trial was in the brain that the proposal was made on. `prediction_error` is the mean
    absolute difference between the predicted and the measured change of the cost, over `predictions` programs;
    `direction_right` the share of them whose sign was foretold. Gains are kept or leading programs; a gain that cites a
    record is a climb, any other a jump. `most_tokens` is the longest briefing that a model read, by estimate.
    """

    model_config = ConfigDict(frozen=True)

    agent_id: str
    proposer: str
    proposals: int
    refused: int
    duplicates_refused: int
    with_related: int
    cited_when_related: float | None
    citations: int
    citations_valid: float | None
    lift: Lift | None
    predictions: int
    prediction_error: float | None
    direction_right: float | None
    gains: int
    climb_share: float | None
    most_tokens: int | None


def memory_rows(study: StudyState) -> list[MemoryRow]:
    """For each worker a row of all its proposals, then one for each proposer (arm or model) if it has several."""
    programs = [program for program in study.programs.values() if program.first.claim.operator in _OWN_IDEAS]
    helped = _helped_at(study)
    return [
        _row(
            study,
            (agent_id, proposer),
            [program for program in programs if _is_of(program.first.claim, agent_id, proposer)],
            [refusal for refusal in study.rejections if _is_of(refusal, agent_id, proposer)],
            helped,
        )
        for agent_id, proposer in _groups([program.first.claim for program in programs], study.rejections)
    ]


_COLUMNS = (
    "",
    "proposals",
    "refused",
    "repeats",
    "cited",
    "valid",
    "lift",
    "error",
    "sign",
    "gains",
    "climbs",
    "tokens",
)
_LEGEND = (
    "repeats: refused as such. cited: of the proposals that were shown related records. valid: of the citations. lift: "
    "share of gains when citing what had helped minus otherwise, percentage points [95 %] (proposals). error: of the "
    "predicted change. sign: predicted rightly. climbs: gains that cite. tokens: longest prompt."
)


def memory_table(rows: Sequence[MemoryRow], objective: Objective) -> str:
    """For a terminal: aligned columns and what they mean."""
    if not rows:
        return "No proposal yet."
    cells = [_COLUMNS, *(_cells(row, objective) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_COLUMNS))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in cells
    ]
    return "\n".join([*lines, "", _LEGEND])


def percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.0%}"


def prediction_error(row: MemoryRow, objective: Objective) -> str:
    return UNKNOWN if row.prediction_error is None else objective.size(row.prediction_error)


def lift_text(lift: Lift | None) -> str:
    """In percentage points, with the numbers of proposals that it rests on."""
    if lift is None:
        return UNKNOWN
    return f"{_points(lift)} points, {lift.citing} citing and {lift.others} others"


def _cells(row: MemoryRow, objective: Objective) -> tuple[str, ...]:
    def of(share: float | None, count: int) -> str:
        return f"{percent(share)} of {count}" if count else "-"

    lift = row.lift
    return (
        row.agent_id if row.proposer == ALL else f"{row.agent_id} {row.proposer}",
        str(row.proposals),
        str(row.refused),
        str(row.duplicates_refused),
        of(row.cited_when_related, row.with_related),
        of(row.citations_valid, row.citations),
        "-" if lift is None else f"{_points(lift)} ({lift.citing}, {lift.others})",
        prediction_error(row, objective) if row.predictions else "-",
        of(row.direction_right, row.predictions),
        str(row.gains),
        percent(row.climb_share) if row.gains else "-",
        "-" if row.most_tokens is None else f"{row.most_tokens:,}",
    )


def _points(lift: Lift) -> str:
    mean, low, high = (f"{100 * value:+.0f}" for value in (lift.mean, lift.low, lift.high))
    return f"{mean} [{low}, {high}]"


def _groups(claims: Iterable[ProposalClaimed], rejections: Iterable[ProposalRejected]) -> Iterator[tuple[str, str]]:
    """(worker, proposer) of each row."""
    proposers: dict[str, set[str]] = {}
    records: list[ProposalClaimed | ProposalRejected] = [*claims, *rejections]
    for record in records:
        proposers.setdefault(record.agent_id, set()).add(record.proposer)
    for agent_id, names in sorted(proposers.items()):
        if len(names) > 1:
            yield agent_id, ALL
        yield from ((agent_id, name) for name in sorted(names))


def _is_of(record: ProposalClaimed | ProposalRejected, agent_id: str, proposer: str) -> bool:
    return record.agent_id == agent_id and proposer in (ALL, record.proposer)


def _row(
    study: StudyState,
    name: tuple[str, str],
    programs: Sequence[Program],
    refusals: Sequence[ProposalRejected],
    helped: Mapping[str, int],
) -> MemoryRow:
    claims = [program.first.claim for program in programs]
    related = [claim for claim in claims if claim.nearest]
    citations = [(claim, cited) for claim in claims for cited in claim.cites]
    pairs = [pair for program in programs if (pair := _prediction(program)) is not None]
    gains = [program for program in programs if _is_gain(study, program)]
    return MemoryRow(
        agent_id=name[0],
        proposer=name[1],
        proposals=len(claims),
        refused=len(refusals),
        duplicates_refused=sum(refusal.code in DUPLICATE_CODES for refusal in refusals),
        with_related=len(related),
        cited_when_related=_share(bool(claim.cites) for claim in related),
        citations=len(citations),
        citations_valid=_share(_is_valid(study, claim, cited) for claim, cited in citations),
        lift=_lift(study, programs, helped),
        predictions=len(pairs),
        prediction_error=fmean(abs(said - seen) for said, seen in pairs) if pairs else None,
        direction_right=_share((said < 0) == (seen < 0) for said, seen in pairs),
        gains=len(gains),
        climb_share=_share(bool(program.first.claim.cites) for program in gains),
        most_tokens=max((claim.briefing_tokens for claim in claims if claim.briefing_tokens is not None), default=None),
    )


def _is_gain(study: StudyState, program: Program) -> bool:
    return standing(study, program) in GAINS


def _helped_at(study: StudyState) -> dict[str, int]:
    """The line at which each program that ever led or was kept first did so."""
    helped: dict[str, int] = {}
    for verdict in study.verdicts:
        if verdict.leads or verdict.decision == Decision.KEEP:
            helped.setdefault(verdict.program, verdict.seq)
    return helped


def _lift(study: StudyState, programs: Sequence[Program], helped: Mapping[str, int]) -> Lift | None:
    """None while either side is empty."""
    first = min(helped.values(), default=math.inf)
    sides: dict[bool, list[bool]] = {True: [], False: []}
    for program in programs:
        claim = program.first.claim
        if claim.read_seq >= first and not program.open_trials:
            cites_help = any(helped.get(_program_of(study, cited), math.inf) <= claim.read_seq for cited in claim.cites)
            sides[cites_help].append(_is_gain(study, program))
    return difference_of_shares(sides[True], sides[False])


def difference_of_shares(ours: Sequence[bool], theirs: Sequence[bool]) -> Lift | None:
    """Share of True in `ours` minus that in `theirs`, with Newcombe's interval; None when either is empty."""
    if not ours or not theirs:
        return None
    (p, low, high), (q, other_low, other_high) = _wilson(ours), _wilson(theirs)
    return Lift(
        mean=p - q,
        low=p - q - math.hypot(p - low, other_high - q),
        high=p - q + math.hypot(high - p, q - other_low),
        citing=len(ours),
        others=len(theirs),
    )


def _wilson(hits: Sequence[bool]) -> tuple[float, float, float]:
    """A share with its 95 % score interval (Wilson 1927)."""
    count, share, square = len(hits), sum(hits) / len(hits), _Z * _Z
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = _Z * math.sqrt(share * (1 - share) / count + square / (4 * count * count)) / (1 + square / count)
    return share, max(0.0, centre - half), min(1.0, centre + half)


def _program_of(study: StudyState, trial_id: str) -> str:
    """The program of a cited trial; a citation of nothing is of no program."""
    trial = study.trials.get(trial_id)
    return trial.claim.program if trial is not None else ""


def _prediction(program: Program) -> tuple[float, float] | None:
    said, verdict = program.first.claim.expects, program.verdict
    return (said, verdict.delta) if said is not None and verdict is not None else None


def _is_valid(study: StudyState, claim: ProposalClaimed, cited: str) -> bool:
    trial = study.trials.get(cited)
    return trial is not None and trial.claim.seq <= claim.read_seq


def _share(hits: Iterable[bool]) -> float | None:
    counted = list(hits)
    return sum(counted) / len(counted) if counted else None
