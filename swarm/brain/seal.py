"""From what a writer hands over to what stands in the file: id, number, time, chain. Pure."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from swarm.brain.lines import decode, encode, line_sha256, moved
from swarm.errors import StaleSnapshot, Unwritable
from swarm.records import ProposalClaimed, Record, fitted
from swarm.study.state import BrainState


@dataclass(frozen=True, slots=True)
class Sealed:
    """A record as readers will see it, and its line with the newline."""

    record: Record
    line: bytes


def identified(record: Record) -> Record:
    """The record with an `id`: its own, so that sending it again is harmless, or a new one."""
    return record if record.id else record.model_copy(update={"id": uuid.uuid4().hex})


def seal(records: Iterable[Record], state: BrainState, *, seq: int, prev: str, now: float) -> list[Sealed]:
    """Envelope and encode `records` behind line `seq`, whose SHA-256 is `prev`.

    A record that is too long for a line is shortened. Raises StaleSnapshot for a claim of a trial that exists, and
    Unwritable for a record that could not be read back.
    """
    sealed: list[Sealed] = []
    claimed: set[tuple[str, str]] = set()
    for given in records:
        record = _claim(given, state, claimed) if isinstance(given, ProposalClaimed) else given
        seq += 1
        line = encode(fitted(record.model_copy(update={"seq": seq, "at": round(now, 3), "prev": prev})))
        sealed.append(Sealed(_read_back(line, record.kind), line))
        prev = line_sha256(line[:-1])
    return sealed


def rechained(lines: Iterable[bytes], *, seq: int, prev: str) -> list[Sealed]:
    """Lines of another brain behind line `seq`, whose SHA-256 is `prev`. Every field stays as it is, those of newer
    versions too; a line of the original format has no place in a chain and stays as it is altogether."""
    sealed: list[Sealed] = []
    for raw in lines:
        seq += 1
        line = moved(raw, seq, prev)
        sealed.append(Sealed(_read_back(line, "foreign"), line))
        prev = line_sha256(line.removesuffix(b"\n"))
    return sealed


def _claim(claim: ProposalClaimed, state: BrainState, claimed: set[tuple[str, str]]) -> ProposalClaimed:
    study = state.study(claim.study_id)
    trial_id = claim.trial_id or (study.next_trial_id if study is not None else "t0001")
    if (claim.study_id, trial_id) in claimed or (study is not None and trial_id in study.trials):
        raise StaleSnapshot(
            f"trial {trial_id} of study {claim.study_id} is claimed already. Read the brain again and claim anew."
        )
    claimed.add((claim.study_id, trial_id))
    return claim.model_copy(update={"trial_id": trial_id, "program": claim.program or trial_id})


def _read_back(line: bytes, kind: str) -> Record:
    """What is written can be read: copies with changed fields were never validated."""
    try:
        return decode(line[:-1])
    except ValueError as problem:
        raise Unwritable(f"a {kind} record cannot be written, nobody could read it: {problem}") from problem
