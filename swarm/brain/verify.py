"""Reading a file from the start: its records, and whether its chain holds."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from swarm.brain.lines import GENESIS, BadLine, decode, line_sha256, numbered
from swarm.brain.tail import Tail
from swarm.errors import BrainError
from swarm.records import History, Record


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What one pass over a file found.

    `kinds` counts the readable records, `repeated` those whose id had been there, `torn_bytes` what follows the last
    newline. `bad` are lines that cannot be read, `broken` lines that the chain accuses.
    """

    path: Path
    lines: int
    kinds: Counter[str]
    repeated: int
    torn_bytes: int
    bad: tuple[BadLine, ...]
    broken: tuple[BadLine, ...]

    @property
    def first_bad(self) -> BadLine | None:
        return min((*self.bad, *self.broken), key=_line_number, default=None)

    @property
    def ok(self) -> bool:
        return self.first_bad is None

    def __str__(self) -> str:
        torn = f", {self.torn_bytes} bytes of an unfinished append" if self.torn_bytes else ""
        counts = f"{self.path}: {self.lines} lines, {self.kinds.total()} records{torn}"
        if self.first_bad is None:
            return f"{counts}; the chain holds"
        problems = len(self.bad) + len(self.broken)
        return f"{counts}; {problems} bad, the first is line {self.first_bad.line}: {self.first_bad.reason}"


def read_records(path: Path | str) -> Iterator[Record]:
    """Every readable record of a file, in order, repeated ids included. Lines that cannot be read are left out."""
    for line in Tail(Path(path)).new_lines():
        try:
            yield numbered(decode(line.raw), line.number)
        except ValueError:
            continue


def verify(path: Path | str) -> VerifyReport:
    """Check each line and each link of the chain. Takes no lock and changes nothing.

    Not promised: to notice a change of the very last line, which no link covers yet, or a file that was rewritten
    with its whole chain. Raises BrainError when there is no such file.
    """
    path = Path(os.path.realpath(path))
    if not path.exists():
        raise BrainError(f"{path} does not exist. `swarm up` starts a brain; --brain names another.")
    bad: list[BadLine] = []
    broken: list[BadLine] = []
    kinds: Counter[str] = Counter()
    ids: Counter[str] = Counter()
    tail, before = Tail(path), GENESIS
    for line in tail.new_lines():
        try:
            record = decode(line.raw)
        except ValueError as problem:
            bad.append(BadLine(line.number, str(problem)))
        else:
            kinds[record.kind] += 1
            ids[record.id] += 1
            broken.extend(_broken_link(record, line.number, before))
        before = line_sha256(line.raw)
    del ids[""]
    return VerifyReport(
        path=path,
        lines=tail.lines,
        kinds=kinds,
        repeated=ids.total() - len(ids),
        torn_bytes=max(0, path.stat().st_size - tail.offset),
        bad=tuple(bad),
        broken=tuple(broken),
    )


def _broken_link(record: Record, number: int, before: str) -> Iterator[BadLine]:
    """Lines of the original format have no link of their own; the `prev` of the next record covers them."""
    if isinstance(record, History) and not record.prev:
        return
    if record.seq != number:
        yield BadLine(number, f"calls itself line {record.seq}: lines before it were removed or added")
    elif record.prev != before and number == 1:
        yield BadLine(1, "its prev is not that of a first line: lines before it were removed")
    elif record.prev != before:
        yield BadLine(number - 1, f"its SHA-256 is not the prev of line {number}: one of the two was changed")


def _line_number(bad: BadLine) -> int:
    return bad.line
