"""What of a study is worth telling a person who sleeps. Pure: the same records give the same notices with the same ids.

leader   the workers build on another program; a lead, and no claim of a gain
finals   they begin, and what they decided
stopped  the study has ended
person   it needs somebody: a disk, a key, a worker that was given up
spend    80 % of a limit on money or tokens is used
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from swarm.records import FinalsClosed, Line, Record, one_line
from swarm.study.state import Program, StudyState, lineage_after
from swarm.study.usage import usages_of
from swarm.verdict import plan
from swarm.verdict.standing import kept

Kind = Literal["leader", "finals", "stopped", "person", "spend"]
SPEND_SHARE = 0.8
MODEL_REFUSALS = {
    "llm_auth": "the model's server refuses the key",
    "llm_quota": "the model's account has no money or no quota left",
    "llm_config": "the model's server does not know what it is asked for",
    "llm_budget": "the study's limit on money or tokens is reached: it goes on without the model",
}
GIVEN_UP = ", given up: "
MAX_TEXT = 600


@dataclass(frozen=True, slots=True)
class Notice:
    """`id` is the same after a restart; `seq` is that of the record it comes from. Texts are one line and plain."""

    id: str
    kind: Kind
    seq: int
    at: float
    study_id: Line
    title: str
    text: str
    fields: dict[str, str | float | None] = field(default_factory=dict)


def notices(study: StudyState, max_usd: float | None, max_tokens: int | None) -> list[Notice]:
    """All that the records say now, oldest first."""
    found = [*_leaders(study), *_finals(study), *_needs(study), *_spend(study, max_usd, max_tokens), *_ended(study)]
    return sorted(found, key=lambda notice: notice.seq)


def trouble(study: StudyState, text: str, at: float) -> Notice:
    """What no record says, since the disk is full or the brain cannot be written."""
    return _notice(study, f"person/trouble/{at:.0f}", "person", study.opened.seq, at, "needs you", text)


def worth_telling(pending: Iterable[Notice]) -> list[Notice]:
    """Of several leaders only the newest; all the rest."""
    pending = list(pending)
    newest = next((notice for notice in reversed(pending) if notice.kind == "leader"), None)
    return [notice for notice in pending if notice.kind != "leader" or notice is newest]


def _leaders(study: StudyState) -> Iterator[Notice]:
    lineage: tuple[str, ...] = ()
    for verdict in study.verdicts:
        before, lineage = lineage, lineage_after(lineage, verdict)
        if not verdict.leads or lineage[-1:] == before[-1:]:
            continue
        program = study.programs[verdict.program]
        mean, claim = study.objective.text(program.mean), program.first.claim
        text = (
            f"{program.name} leads with {study.objective.name} {study.objective.with_unit(mean)} over "
            f"{len(program.costs)} run(s): {claim.description} ({claim.agent_id}). A lead, not yet shown to be real."
        )
        facts = {**_facts(study, program), "description": claim.description, "agent_id": claim.agent_id}
        notice_id = f"leader/{program.name}/{verdict.seq}"
        yield _notice(study, notice_id, "leader", verdict.seq, verdict.at, "new leader", text, facts)


def _finals(study: StudyState) -> Iterator[Notice]:
    for opened in study.finals:
        names = ", ".join(opened.finalists)
        text = f"{names} against the baseline: {plan.runs(opened.rounds)} runs on fresh seeds."
        notice_id = f"finals/{opened.number}/begun"
        yield _notice(study, notice_id, "finals", opened.seq, opened.at, "finals begin", text)
        ended = study.finals_ends.get(opened.number)
        if ended is not None:
            yield _decided(study, ended)


def _decided(study: StudyState, ended: FinalsClosed) -> Notice:
    program = study.programs.get(ended.winner) if ended.winner is not None else None
    text = f"Nothing is kept. {ended.why}"
    facts: dict[str, str | float | None] = {"kept": 0.0}
    if program is not None and ended.kept:
        claim = program.first.claim
        text = f"{program.name} is kept: {claim.description} ({claim.agent_id}). {ended.why}"
        facts = {**_facts(study, program), "kept": 1.0, "description": claim.description, "agent_id": claim.agent_id}
    drifted = " The baseline has moved since the noise floor: the machine has changed." if ended.drifted else ""
    notice_id = f"finals/{ended.number}/ended"
    return _notice(study, notice_id, "finals", ended.seq, ended.at, "finals have ended", text + drifted, facts)


def _needs(study: StudyState) -> Iterator[Notice]:
    told = set()
    for refused in study.rejections:
        meaning = MODEL_REFUSALS.get(refused.code)
        if meaning is None or refused.seq < study.opened.seq or refused.code in told:
            continue
        told.add(refused.code)
        notice_id = f"person/{refused.code}/{study.opened.seq}"
        text = f"{meaning}. {refused.detail}"
        yield _notice(study, notice_id, "person", refused.seq, refused.at, "needs you", text)
    for status in study.workers.values():
        if status.status == "stopped" and GIVEN_UP in status.description:
            notice_id = f"person/{status.agent_id}/{status.seq}"
            yield _notice(study, notice_id, "person", status.seq, status.at, "needs you", status.description)


def _spend(study: StudyState, max_usd: float | None, max_tokens: int | None) -> Iterator[Notice]:
    """Once for each limit. What nobody has counted is not in it: the sums are at least as large."""
    usages = usages_of(study)
    usd = sum(usage.usd or 0.0 for usage in usages)
    tokens = sum((usage.input_tokens or 0) + (usage.output_tokens or 0) for usage in usages)
    newest = max((*study.rejections, *(trial.claim for trial in study.trials.values())), key=_seq, default=study.opened)
    for name, spent, limit in (("USD", usd, max_usd), ("tokens", float(tokens), max_tokens)):
        if limit and spent >= SPEND_SHARE * limit:
            amount = f"{spent:,.2f} of {limit:,.2f} USD" if name == "USD" else f"{spent:,.0f} of {limit:,} tokens"
            facts: dict[str, str | float | None] = {"spent": spent, "limit": float(limit), "unit": name}
            text = f"{amount} are spent on models ({spent / limit:.0%})."
            notice_id = f"spend/{name}/{limit:g}"
            yield _notice(study, notice_id, "spend", newest.seq, newest.at, "80 % spent", text, facts)


def _ended(study: StudyState) -> Iterator[Notice]:
    closed = study.closed
    if closed is None:
        return
    incumbent, counted = study.incumbent, len(study.trials)
    best = ""
    if incumbent is not None and incumbent.mean is not None:
        best = f" Incumbent: {incumbent.name} at {study.objective.with_unit(study.objective.text(incumbent.mean))}."
    text = f"{closed.reason}: {counted} trials, {len(kept(study))} kept.{best}"
    facts: dict[str, str | float | None] = {"reason": closed.reason, "trials": float(counted)}
    if incumbent is not None:
        facts |= _facts(study, incumbent)
    yield _notice(study, f"stopped/{closed.seq}", "stopped", closed.seq, closed.at, "stopped", text, facts)


def _seq(record: Record) -> int:
    return record.seq


def _facts(study: StudyState, program: Program) -> dict[str, str | float | None]:
    objective = study.objective
    value = objective.value(program.mean) if program.mean is not None else None
    return {"program": program.name, "objective": objective.name, "unit": objective.unit, "value": value}


def _notice(
    study: StudyState,
    notice_id: str,
    kind: Kind,
    seq: int,
    at: float,
    title: str,
    text: str,
    fields: dict[str, str | float | None] | None = None,
) -> Notice:
    where = study.opened.target
    return Notice(
        notice_id, kind, seq, at, study.study_id, f"swarm {where}: {title}", one_line(text, MAX_TEXT), fields or {}
    )
