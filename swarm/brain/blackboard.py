"""The brain as its users see it: replay what is there, append what is new."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from swarm.brain.disk import Disk, SyncFailed, append_durably, opened_for_append, set_torn_bytes_aside
from swarm.brain.keep import Kept
from swarm.brain.lines import BadLine, could_begin_ours, decode, numbered, slim
from swarm.brain.lock import WriterLock, is_at
from swarm.brain.replaying import without_collections
from swarm.brain.seal import Sealed, identified, rechained, seal
from swarm.brain.tail import RawLine, Tail
from swarm.brain.verify import read_records
from swarm.brain.watch import pulses
from swarm.clock import Clock, SystemClock
from swarm.errors import BrainError, BrainNotOurs, BrainReplaced, Escaped, contained
from swarm.records import MAX_DESCRIPTION, Note, Record, one_line
from swarm.study.state import BrainState

_SYSTEM_CLOCK = SystemClock()
_SYSTEM_DISK = Disk()
_SETTLE_S = 0.2  # git takes the old file away and writes the new one a moment later: let it finish


class Brain:
    """One process's view of the file at `path`, and its way to append.

    Reading takes no lock and never fails on what others wrote: a bad line is skipped and listed in `skipped`, an
    unterminated last line is not yet there. Writing takes the lock of `<path>.lock`; after
    `lock_timeout_s` the append fails and says who holds it. Clock jumps do not matter: `at` is for people, order is by
    `seq`.

    `snapshot` returns the same live state each time. Threads may share a brain for appending, but a thread that reads
    a state while another one appends wants a Brain of its own. Not promised: flock on network file systems that do not
    have it (refused with BrainError).

    With `kept`, the path of a second copy, a brain that is deleted or exchanged while in use is put back, whoever
    notices first, and a note says so; without, whoever notices stops with BrainReplaced.
    """

    def __init__(
        self,
        path: Path | str,
        clock: Clock = _SYSTEM_CLOCK,
        *,
        lock_timeout_s: float = 60.0,
        disk: Disk = _SYSTEM_DISK,
        kept: Path | None = None,
    ) -> None:
        self.path = Path(os.path.realpath(path))  # unlike resolve(), no error for links in a circle
        self._clock = clock
        self._disk = disk
        self._lock = WriterLock(self.path.with_name(self.path.name + ".lock"), clock, lock_timeout_s)
        self._kept = Kept(kept) if kept is not None else None
        self._kept_lock = WriterLock(kept.with_name(kept.name + ".lock"), clock, lock_timeout_s) if kept else None
        self._put_back: list[str] = []  # sentences that no note has told yet
        self._mutex = threading.RLock()
        self._tail = Tail(self.path)
        self._state = BrainState()
        self._skipped: list[BadLine] = []
        self._records = 0
        self._distrusted = ""

    @property
    def skipped(self) -> tuple[BadLine, ...]:
        """Lines that could not be read, as of the last snapshot or append."""
        return tuple(self._skipped)

    def snapshot(self) -> BrainState:
        """The state as of the last complete line. Raises BrainReplaced, and DiskFull where the brain had to be put back
        and could not be."""
        if self._kept is not None and (self._tail.changed() or not self._tail.lines) and self._kept.lost(self.path):
            self._clock.sleep(_SETTLE_S)
            with self._held(), self._mutex:
                self._restore(self._kept)
        with self._mutex:
            if self._tail.changed():
                with without_collections(self._tail.unread_bytes()):
                    self._apply(self._tail.new_lines())
            return self._state

    def append(self, *records: Record) -> list[Record]:
        """Append all of them or, after an error, none; see `transact`.

        Not promised: that a power failure in the middle of several lines leaves none of them.
        """
        return self.transact(lambda _: records)

    def transact(self, build: Callable[[BrainState], Sequence[Record]]) -> list[Record]:
        """Under the lock: catch up, `build` from the fresh state, append the result in one write, fsync.

        Returns the records as they stand in the file, with `seq`, `id`, `at` and `prev`, and a claim without
        `trial_id` with the next free one. A record whose `id` is in the file already is not written again; the stored
        one is returned, so that a writer which never saw its acknowledgement may repeat itself.

        Whatever `build` raises passes through, and then nothing is written. It may not append itself. Raises
        StaleSnapshot (the trial of a claim exists), Unwritable (a record that nobody could read), DiskFull,
        BrainNotOurs, BrainReplaced, and BrainError for a lock that is not to be had, or a disk that failed.
        """
        with self._caught_up() as fd:
            built = [identified(record) for record in build(self._state)]
            notes = [identified(note) for note in self._notes()]
            fresh = {record.id: record for record in (*notes, *built) if not self._state.seen(record.id)}
            sealed = seal(
                fresh.values(), self._state, seq=self._tail.lines, prev=self._tail.last_sha256, now=self._clock.now()
            )
            if sealed:
                self._write(fd, sealed)
            return self._stored([record.id for record in built], sealed)

    def take(self, choose: Callable[[int], Sequence[bytes]]) -> int:
        """Under the lock: catch up, and append lines of another brain in one write, each as it stands there but for
        `seq` and `prev`. `choose` gets the number of lines that are here and gives the new ones without their newline.
        Returns how many came. Raises as `transact`; what `choose` raises passes through, and then nothing is written.
        """
        with self._caught_up() as fd:
            chosen = choose(self._tail.lines)
            sealed = rechained(chosen, seq=self._tail.lines, prev=self._tail.last_sha256)
            if sealed:
                self._write(fd, sealed)
            return len(sealed)

    def watch(self, timeout_s: float | None = None, poll_s: float = 5.0) -> Iterator[BrainState]:
        """The state now and again after each change, until `timeout_s` has passed (None: for ever).

        Changes arrive by file system events where there are some, within half a second; size and inode are looked at
        every `poll_s` in any case, every second where there are no events. SWARM_WATCH=inotify|poll overrides the
        choice. Bursts are one change. Raises BrainReplaced, UsageError for another value of SWARM_WATCH.
        """
        state, shown = self.snapshot(), self._tail.lines
        yield state
        for _ in pulses(self.path, self._clock, timeout_s=timeout_s, poll_s=poll_s):
            state = self.snapshot()
            if self._tail.lines != shown:
                shown = self._tail.lines
                yield state

    def begin_keeping(self) -> str | None:
        """For whoever opens a study on the brain as it is now: a copy that an earlier one left is given up. A sentence
        says where it is, if it holds lines that the brain has lost meanwhile."""
        if self._kept is None:
            return None
        with self._held(), self._mutex:
            return self._kept.retire(self.path)

    @contextlib.contextmanager
    def _caught_up(self) -> Iterator[int]:
        """The brain, locked and opened for an append, with all that others wrote applied."""
        self.snapshot()  # so that little is left to read while others wait for the lock
        with self._held(), self._mutex, self._opened() as fd:
            if self._distrusted:
                raise BrainError(self._distrusted)
            self._apply(self._tail.new_lines_of(fd))
            self._require_ours(fd)
            yield fd

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """The lock beside the brain, which all writers take, and that of the copy, which nobody's `git clean` deletes
        while a writer holds it."""
        with self._lock.held():
            if self._kept_lock is None:
                yield
                return
            with self._kept_lock.held():
                yield

    def _restore(self, kept: Kept) -> None:
        """Put the brain back if it is lost. Hold the lock."""
        if kept.lost(self.path):
            self._put_back.append(kept.put_back(self.path, self._disk))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """The brain, put back before if it is lost. What is written to it is in the copy when the block ends, so it
        does not matter if the file is exchanged meanwhile; without a copy that raises BrainReplaced. Hold the lock."""
        if self._kept is not None:
            self._restore(self._kept)
        with opened_for_append(self.path) as fd:
            yield fd
            if self._kept is not None:
                self._kept.follow(fd, self._tail.offset)
            elif not is_at(self.path, fd):
                raise BrainReplaced(f"{self.path} was replaced during an append. Stop the swarm and start again.")

    def _notes(self) -> list[Record]:
        """What happened to the file, for the study that was running."""
        told, self._put_back = self._put_back, []
        study = self._state.latest
        study_id = study.study_id if study is not None else ""
        return [Note(study_id=study_id, topic="brain", description=one_line(text, MAX_DESCRIPTION)) for text in told]

    def _apply(self, lines: Iterator[RawLine]) -> None:
        for line in lines:
            try:
                record = decode(line.raw)
            except ValueError as problem:
                self._skipped.append(BadLine(line.number, str(problem)))
            else:
                self._records += 1
                applied = contained(partial(self._state.apply, slim(numbered(record, line.number))))
                if isinstance(applied, Escaped):
                    self._skipped.append(BadLine(line.number, applied.text))

    def _require_ours(self, fd: int) -> None:
        """Never add to, or cut the end off, a file that some other program wrote."""
        if self._records:
            return
        if self._skipped:
            first = self._skipped[0]
            what = f"none of its {self._tail.lines} lines is a record (line {first.line}: {first.reason})"
        else:
            opening = os.pread(fd, 20, 0)
            if could_begin_ours(opening):
                return
            what = f"it begins with {opening!r}"
        raise BrainNotOurs(f"{self.path} is not a brain: {what}. Choose another path with --brain, or move it away.")

    def _write(self, fd: int, sealed: list[Sealed]) -> None:
        set_torn_bytes_aside(self._disk, fd, self.path, self._tail.offset)
        try:
            append_durably(self._disk, fd, self.path, b"".join(one.line for one in sealed))
        except SyncFailed as problem:
            self._distrusted = f"{problem} This process appends no more: check the disk, then start again."
            raise BrainError(self._distrusted) from problem
        self._apply(self._tail.new_lines_of(fd))

    def _stored(self, ids: list[str], sealed: list[Sealed]) -> list[Record]:
        """The records with these ids as they stand in the file, whoever wrote them and when."""
        found = {one.record.id: one.record for one in sealed}
        if wanted := set(ids) - found.keys():
            found |= {record.id: record for record in reversed([*read_records(self.path)]) if record.id in wanted}
        return [found[record_id] for record_id in ids]
