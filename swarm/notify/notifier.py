"""Notices on their way, beside a study that never waits for them.

The study shows its state (`look`, no wait); a thread delivers, each sink at its own pace. A failure rests that sink for
a moment, longer each time up to five minutes; what waits meanwhile is told together, the newest leader only. `close`
gives the last notices a few seconds.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from swarm.clock import Clock
from swarm.errors import Escaped, contained
from swarm.notify.delivery import Sink
from swarm.notify.notices import Notice, notices, trouble, worth_telling
from swarm.notify.told import Told
from swarm.study.state import StudyState

REST_S, MOST_REST_S = 2.0, 300.0
TROUBLE_EVERY_S = 1800.0
LAST_WORDS_S = 15.0
LAST_TRIES, LAST_REST_S = 3, 1.0
WAKE_S = 1.0


@dataclass
class _Queue:
    """What one sink has not taken yet."""

    sink: Sink
    key: str
    pending: list[Notice] = field(default_factory=list)
    failures: int = 0
    not_before: float = 0.0
    fault: str | None = None


class Notifier:
    """`say` gets a line for a person when a sink fails and when it works again, in the thread that calls `look`."""

    def __init__(self, sinks: Sequence[Sink], path: Path, clock: Clock, say: Callable[[str], None]) -> None:
        self._queues = [_Queue(sink, type(sink).__name__.lower()) for sink in sinks]
        self._told = Told(path)
        self._clock = clock
        self._say = say
        self._said: dict[str, str | None] = {}
        self._seen = -1
        self._troubled: float | None = None
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._idle = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    def start(self, study: StudyState) -> None:
        """What a study had before anybody was to be told of it is history, and is not told."""
        if not self._told.known:
            old = [notice.id for notice in notices(study, None, None) if notice.seq <= study.opened.seq]
            self._told.add(f"{queue.key}/{one}" for queue in self._queues for one in old)
        self._thread.start()

    def look(
        self, study: StudyState, seq: int, *, max_usd: float | None, max_tokens: int | None, problem: str | None = None
    ) -> None:
        """Take what is new. `seq` is the brain's: nothing is looked for while it stands still."""
        found = [] if seq == self._seen else notices(study, max_usd, max_tokens)
        self._seen = seq
        if problem is not None and self._is_news(problem):
            found.append(trouble(study, problem, self._clock.now()))
        self._take(found)
        self._tell_faults()

    def close(self) -> None:
        """Waits at most LAST_WORDS_S for what is on its way."""
        if not self._thread.is_alive():
            return
        with self._lock:
            self._closing = True
            for queue in self._queues:
                queue.not_before, queue.failures = 0.0, 0
        self._news.set()
        self._idle.wait(LAST_WORDS_S)
        self._tell_faults()

    def _is_news(self, _problem: str) -> bool:
        """A disk that fills and empties is told of every half hour."""
        now = self._clock.monotonic()
        if self._troubled is not None and now - self._troubled < TROUBLE_EVERY_S:
            return False
        self._troubled = now
        return True

    def _take(self, found: Sequence[Notice]) -> None:
        if not found:
            return
        with self._lock:
            for queue in self._queues:
                waiting = {notice.id for notice in queue.pending}
                queue.pending += [
                    notice
                    for notice in found
                    if notice.id not in waiting and f"{queue.key}/{notice.id}" not in self._told
                ]
        self._news.set()

    def _run(self) -> None:
        while True:
            self._news.wait(WAKE_S)
            self._news.clear()
            for queue in self._queues:
                self._serve(queue)
            with self._lock:
                if self._closing and all(map(_is_over, self._queues)):
                    self._idle.set()
                    return

    def _serve(self, queue: _Queue) -> None:
        """All that waits, until one fails."""
        while True:
            with self._lock:
                if not queue.pending or self._clock.monotonic() < queue.not_before:
                    return
                chosen = worth_telling(queue.pending)
                passed_over = [notice for notice in queue.pending if notice not in chosen]
            notice = chosen[0]
            fault = _delivered(queue.sink, notice)
            with self._lock:
                if fault is not None:
                    self._rest(queue, fault)
                    return
                queue.failures, queue.fault = 0, None
                done = {notice.id, *(one.id for one in passed_over)}
                queue.pending = [one for one in queue.pending if one.id not in done]
                self._told.add(f"{queue.key}/{one}" for one in done)

    def _rest(self, queue: _Queue, fault: str) -> None:
        queue.failures += 1
        queue.fault = fault
        rest_s = LAST_REST_S if self._closing else min(MOST_REST_S, REST_S * 4 ** (queue.failures - 1))
        queue.not_before = self._clock.monotonic() + rest_s

    def _tell_faults(self) -> None:
        with self._lock:
            faults = {queue.sink.name: queue.fault for queue in self._queues}
        for name, fault in faults.items():
            had = self._said.get(name)
            if (fault is None) != (had is None):
                self._say(f"Notices to {name} work again." if fault is None else f"Notices to {name} fail: {fault}.")
            self._said[name] = fault


def _delivered(sink: Sink, notice: Notice) -> str | None:
    """Nothing that a sink raises ends the thread, and what it says of itself may hold the address."""
    fault = contained(lambda: sink.deliver(notice))
    return type(fault.error).__name__ if isinstance(fault, Escaped) else fault


def _is_over(queue: _Queue) -> bool:
    return not queue.pending or queue.failures >= LAST_TRIES
