"""Did the workers use what the swarm knows? One row a worker, counted from the records."""

from collections.abc import Iterable, Sequence
from statistics import fmean

from pydantic import BaseModel, ConfigDict

from swarm.records import Operator, ProposalClaimed
from swarm.state import Program, StudyState
from swarm.summary import standing

DUPLICATE_CODES = frozenset({"duplicate", "near_duplicate", "no_change"})
_OWN_IDEAS = frozenset({Operator.TUNE, Operator.STRUCTURAL, Operator.RECOMBINE, Operator.ABLATE})
_GAINS = frozenset({"kept", "leading"})


class MemoryRow(BaseModel):
    """One worker. Shares are None where there is nothing to take a share of.

    A citation is valid when its trial was in the brain that the proposal was made on. `prediction_error` is the mean
    absolute difference between the predicted and the measured change of the loss (nats), over `predictions` programs;
    `direction_right` the share of them whose sign was foretold. Gains are kept or leading programs; a gain that cites a
    record is a climb, any other a jump. Citing is no proof of having understood: compare with a run under
    `--memory shuffled`.
    """

    model_config = ConfigDict(frozen=True)

    agent_id: str
    proposals: int
    refused: int
    duplicates_refused: int
    with_related: int
    cited_when_related: float | None
    citations: int
    citations_valid: float | None
    predictions: int
    prediction_error: float | None
    direction_right: float | None
    gains: int
    climb_share: float | None


def memory_rows(study: StudyState) -> list[MemoryRow]:
    agents = {trial.claim.agent_id for trial in study.trials.values()} | {r.agent_id for r in study.rejections}
    return [_row(study, agent_id) for agent_id in sorted(agents)]


def memory_table(rows: Sequence[MemoryRow]) -> str:
    """For a terminal: one line a worker."""
    return "\n".join(
        f"{row.agent_id}: {row.proposals} proposals, {row.refused} refused ({row.duplicates_refused} as duplicates); "
        f"cited {percent(row.cited_when_related)} of the time when related records were shown, "
        f"{percent(row.citations_valid)} of {row.citations} citations valid; "
        f"prediction off by {number(row.prediction_error)} over {row.predictions}; "
        f"{row.gains} gains, {percent(row.climb_share)} of them climbs"
        for row in rows
    )


def percent(share: float | None) -> str:
    return "n/a" if share is None else f"{share:.0%}"


def number(value: float | None, digits: int = 4, *, signed: bool = False) -> str:
    if value is None:
        return "n/a"
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def _row(study: StudyState, agent_id: str) -> MemoryRow:
    programs = [p for p in study.programs.values() if p.first.claim.agent_id == agent_id and _is_own_idea(p)]
    claims = [program.first.claim for program in programs]
    refusals = [rejection for rejection in study.rejections if rejection.agent_id == agent_id]
    related = [claim for claim in claims if claim.nearest]
    citations = [(claim, cited) for claim in claims for cited in claim.cites]
    pairs = [pair for program in programs if (pair := _prediction(program)) is not None]
    gains = [program for program in programs if standing(study, program) in _GAINS]
    return MemoryRow(
        agent_id=agent_id,
        proposals=len(claims),
        refused=len(refusals),
        duplicates_refused=sum(refusal.code in DUPLICATE_CODES for refusal in refusals),
        with_related=len(related),
        cited_when_related=_share(bool(claim.cites) for claim in related),
        citations=len(citations),
        citations_valid=_share(_is_valid(study, claim, cited) for claim, cited in citations),
        predictions=len(pairs),
        prediction_error=fmean(abs(said - seen) for said, seen in pairs) if pairs else None,
        direction_right=_share((said < 0) == (seen < 0) for said, seen in pairs),
        gains=len(gains),
        climb_share=_share(bool(program.first.claim.cites) for program in gains),
    )


def _is_own_idea(program: Program) -> bool:
    return program.first.claim.operator in _OWN_IDEAS


def _prediction(program: Program) -> tuple[float, float] | None:
    said, verdict = program.first.claim.expects, program.verdict
    return (said, verdict.delta) if said is not None and verdict is not None else None


def _is_valid(study: StudyState, claim: ProposalClaimed, cited: str) -> bool:
    trial = study.trials.get(cited)
    return trial is not None and trial.claim.seq <= claim.read_seq


def _share(hits: Iterable[bool]) -> float | None:
    counted = list(hits)
    return sum(counted) / len(counted) if counted else None
