"""Two brains into one: the records of another file that are not here yet, behind those that are.

A record is the same where its `id` is the same. Merging twice adds nothing; each file's own order stays; two studies
lie side by side. Where two files say different things under one name, or two records claim one trial, nothing is
written: such files come from one study that went on in two places, and no order of the two is the true one. Whoever
takes what others wrote can leave such records out instead (`apart`): one name must not keep a whole night away.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from swarm.brain.blackboard import Brain
from swarm.brain.lines import GENESIS, decode, identity, moved
from swarm.brain.tail import Tail
from swarm.brain.verify import verify
from swarm.errors import BrainError, Unwritable
from swarm.failpoints import failpoint
from swarm.records import ProposalClaimed, Record, one_line

_SHOWN, _NAMED = 5, 120  # contradictions, and characters of each


class MergeRefused(BrainError):
    """The files contradict each other, or the other one is not whole; nothing was written."""


@dataclass(frozen=True, slots=True)
class Merged:
    """`added` records are new, `known` were here, `unwanted` were left out by `wanted`, `unreadable` by necessity.
    `refused`: what contradicts the brain and was left out, each in a few words."""

    added: int
    known: int
    unwanted: int
    unreadable: int
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Known:
    seq: int
    digest: bytes


@dataclass(slots=True)
class _Index:
    """What is in the brain, by name. Reads on from where it was."""

    tail: Tail
    known: dict[str, _Known] = field(default_factory=dict)
    claims: dict[tuple[str, str], str] = field(default_factory=dict)

    def catch_up(self) -> None:
        for line in self.tail.new_lines():
            try:
                record = decode(line.raw)
            except ValueError:
                continue
            name, digest = identity(line.raw)
            self.known.setdefault(name, _Known(line.number, digest))
            if isinstance(record, ProposalClaimed):
                self.claims.setdefault((record.study_id, record.trial_id), name)


def merge(
    into: Brain, other: Path, wanted: Callable[[Record], bool] = lambda record: True, *, apart: bool = False
) -> Merged:
    """Adds what the other file has and this brain has not. A study may run on the brain meanwhile. `apart`: a record
    that contradicts the brain is left out and named, and the rest comes.

    Raises MergeRefused, and what `Brain.take` raises. A chain that is broken is refused; a line that cannot be read is
    left out and counted, and an unfinished last line is not there yet.
    """
    report = verify(other)
    if report.broken:
        first = report.broken[0]
        raise MergeRefused(
            f"{other} is not whole: line {first.line}: {first.reason}. See: swarm verify --brain {other}"
        )
    index = _Index(Tail(into.path))
    index.catch_up()
    merging = _Merging(index, other, wanted, apart)
    into.take(merging.choose)
    refused = tuple(merging.conflicts)
    return Merged(merging.added, merging.already, merging.unwanted, merging.unreadable, refused)


def merged_file(first: Path, second: Path, out: Path) -> Merged:
    """Both in a new file, which appears whole or not at all. Raises MergeRefused, also when `out` is there."""
    if out.exists():
        raise MergeRefused(f"{out} is there already. Choose another --out, or merge into it without --out.")
    draft = out.with_name(f"{out.name}.merging")
    draft.unlink(missing_ok=True)
    try:
        brain = Brain(draft)
        begun = merge(brain, first)
        ended = merge(brain, second)
        failpoint("merge.before_place")
        draft.replace(out)
        failpoint("merge.placed")
    finally:
        draft.unlink(missing_ok=True)
        draft.with_name(f"{draft.name}.lock").unlink(missing_ok=True)
    return Merged(ended.added, ended.known, unwanted=0, unreadable=begun.unreadable + ended.unreadable)


@dataclass(slots=True)
class _Merging:
    """One reading of the other file against the index."""

    index: _Index
    other: Path
    wanted: Callable[[Record], bool]
    apart: bool = False
    added: int = 0
    already: int = 0
    unwanted: int = 0
    unreadable: int = 0
    conflicts: list[str] = field(default_factory=list)

    def choose(self, lines_here: int) -> list[bytes]:
        """The new lines, with what they say of other lines' numbers made to fit. Hold the brain's lock."""
        self.index.catch_up()
        chosen: list[bytes] = []
        place, places = 0, [0]  # where each line of the other file stands here, or the last one before it that does
        for line in Tail(self.other).new_lines():
            found = self._place(line.raw, lines_here + len(chosen) + 1)
            if found is not None and found > lines_here + len(chosen):
                chosen.append(_with_read_seq(line.raw, places))
                self.added += 1
            place = found if found is not None else place
            places.append(place)
        if self.conflicts and not self.apart:
            raise MergeRefused(
                f"{self.other} contradicts the brain, so nothing is merged: {first_of(self.conflicts)}. "
                "Both stay as they are; look at each with --brain."
            )
        return chosen

    def _place(self, raw: bytes, following: int) -> int | None:
        """The line's number here: an earlier one, `following` for a new one, None where it does not come in."""
        try:
            record = decode(raw)
        except ValueError:
            self.unreadable += 1
            return None
        name, digest = identity(raw)
        known = self.index.known.get(name)
        if known is not None:
            if known.digest != digest:
                self._refused(record, f"{record.kind} {name} says something else")
                return None
            self.already += 1
            return known.seq
        if not self.wanted(record):
            self.unwanted += 1
            return None
        return self._new(record, name, raw, following, digest)

    def _new(self, record: Record, name: str, raw: bytes, following: int, digest: bytes) -> int | None:
        if self.apart and not _fits(raw, following):
            self._refused(record, f"{record.kind} {name} is too long for a line")
            return None
        if isinstance(record, ProposalClaimed):
            trial = (record.study_id, record.trial_id)
            if trial in self.index.claims:
                said = f"trial {record.trial_id} of {record.study_id} is claimed by another record"
                self._refused(record, said)
                return None
            self.index.claims[trial] = name
        self.index.known[name] = _Known(following, digest)
        return following

    def _refused(self, record: Record, why: str) -> None:
        """It does not come in. Of a record that nobody wants, nothing is said."""
        if self.apart and not self.wanted(record):
            self.unwanted += 1
        else:
            self.conflicts.append(one_line(why, _NAMED))


def first_of(conflicts: Sequence[str]) -> str:
    """A few of them in words, and how many more there are."""
    more = f", and {len(conflicts) - _SHOWN} more" if len(conflicts) > _SHOWN else ""
    return f"{'; '.join(conflicts[:_SHOWN])}{more}"


def _fits(raw: bytes, following: int) -> bool:
    """At its new place, where its numbers may be longer."""
    try:
        moved(_with_read_seq(raw, [following]), following, GENESIS)
    except (Unwritable, ValueError):
        return False
    return True


def _with_read_seq(raw: bytes, places: list[int]) -> bytes:
    """`read_seq` is the number of a line: the last one that its author had read."""
    fields = json.loads(raw)
    read = fields.get("read_seq")
    if not isinstance(read, int) or read < 0:
        return raw
    return json.dumps({**fields, "read_seq": places[min(read, len(places) - 1)]}, ensure_ascii=False).encode()
