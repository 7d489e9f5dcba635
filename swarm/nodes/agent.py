"""A node's side: it asks for orders, runs them through an executor of its own, and says how they do.

One thread, one step at a time. What the agent holds is written down, so that another process on the node goes on with
it: the trials themselves run under their supervisors, whoever watches them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from swarm.clock import Clock
from swarm.errors import Escaped, NodeError, contained
from swarm.execution.executor import Executor, Outcome, Progress, RunningTrial
from swarm.nodes.values import BEAT_S, IDLE_BEAT_S, Answer, Beat, Held, Lease, NodeFacts
from swarm.trial.files import Unreadable, read_plain, write_whole

POLL_S = 0.1
DRAIN_LIMIT_S = 30.0


class Noted(BaseModel):
    """What the agent holds, by trial: the number under which each was given out."""

    issues: dict[str, int] = {}


@dataclass
class _InHand:
    issue: int
    running: RunningTrial
    said: Progress | Outcome | str | None = None  # a text: it could not be set up


class Agent:
    """`ask` puts a question to the driver and raises NodeError when nobody answers."""

    def __init__(
        self,
        ask: Callable[[str, bytes], bytes],
        executor: Executor,
        facts: Callable[[], NodeFacts],
        note: Path,
        clock: Clock,
    ) -> None:
        self.refused = ""
        self.ended = False
        self.silent_s = 0.0  # since somebody answered
        self._ask = ask
        self._executor = executor
        self._facts = facts
        self._note = note
        self._clock = clock
        self._held: dict[str, _InHand] = {}
        self._returned: dict[str, int] = {}
        self._draining = False
        self._next_beat = 0.0
        self._answered = clock.monotonic()
        self._recover()

    @property
    def holds(self) -> tuple[str, ...]:
        return tuple(self._held)

    def step(self) -> None:
        """One look at each trial, and a beat where one is due: every BEAT_S, or as soon as there is news."""
        news = [self._look(in_hand) for in_hand in self._held.values()]
        now = self._clock.monotonic()
        if any(news) or now >= self._next_beat:
            self._next_beat = now + (BEAT_S if self._held else IDLE_BEAT_S)
            self._beat(now)

    def drain(self) -> None:
        """Take nothing more and give back what is held: its processes are dead when this returns, and another node
        begins it anew. For a machine that is about to be taken away."""
        self._draining = True
        for in_hand in self._held.values():
            contained(lambda trial=in_hand.running: trial.stop("its node is taken away"))  # type: ignore[misc]
        until = self._clock.monotonic() + DRAIN_LIMIT_S
        while any(not _is_over(one) for one in self._held.values()) and self._clock.monotonic() < until:
            for in_hand in self._held.values():
                self._look(in_hand)
            self._clock.sleep(POLL_S)
        self._returned = {name: in_hand.issue for name, in_hand in self._held.items()}
        self._held.clear()
        self._beat(self._clock.monotonic())

    def _look(self, in_hand: _InHand) -> bool:
        """Whether there is something to tell at once."""
        if _is_over(in_hand):
            return False
        before = in_hand.said
        now = contained(in_hand.running.poll)
        in_hand.said = now.text if isinstance(now, Escaped) else now
        if isinstance(now, Progress) and isinstance(before, Progress):
            return (now.state, now.started, len(now.rungs)) != (before.state, before.started, len(before.rungs))
        return True

    def _beat(self, now: float) -> None:
        held = [self._word(name, in_hand) for name, in_hand in self._held.items()]
        held += [Held(trial_id=name, issue=issue, returned=True) for name, issue in self._returned.items()]
        beat = Beat(facts=self._facts(), wants=self._wants(), held=tuple(held))
        try:
            answer = Answer.model_validate_json(self._ask("beat", beat.model_dump_json().encode()))
        except (NodeError, ValidationError) as error:
            self.silent_s, self.refused = now - self._answered, str(error)
            return
        self._answered, self.silent_s = now, 0.0
        self.refused, self.ended = answer.refused, answer.ended
        self._returned.clear()
        for trial_id in answer.forget:
            self._forget(trial_id)
        for trial_id, reason in answer.stops.items():
            if (in_hand := self._held.get(trial_id)) is not None:
                contained(lambda trial=in_hand.running, why=reason: trial.stop(why))  # type: ignore[misc]
        for trial_id in answer.drop_weights:
            contained(lambda name=trial_id: self._executor.drop_weights(name))  # type: ignore[misc]
        if answer.lease is not None and not self._draining and not answer.ended:
            self._take(answer.lease)

    def _wants(self) -> bool:
        """One that waits for memory is enough: the next order is better off with another node."""
        going = [one for one in self._held.values() if not _is_over(one)]
        waits = any(not isinstance(one.said, Progress) or one.said.state != "running" for one in going)
        return not self._draining and not waits

    def _word(self, trial_id: str, in_hand: _InHand) -> Held:
        said = in_hand.said
        losses = self._executor.losses(trial_id) if isinstance(said, Outcome) and said.score is not None else None
        return Held(
            trial_id=trial_id,
            issue=in_hand.issue,
            progress=said if isinstance(said, Progress) else None,
            outcome=said if isinstance(said, Outcome) else None,
            losses=tuple(losses) if losses is not None else None,
            broken=said if isinstance(said, str) else None,
        )

    def _take(self, lease: Lease) -> None:
        running = contained(lambda: self._executor.submit(lease.order))
        trial_id = lease.order.trial_id
        if isinstance(running, Escaped):
            self._held[trial_id] = _InHand(lease.issue, _Never(), running.text)
        else:
            self._held[trial_id] = _InHand(lease.issue, running, Progress(state="waiting", why="it has come"))
        self._write()
        self._next_beat = 0.0

    def _forget(self, trial_id: str) -> None:
        """Its end is known, or it was given to another: nothing of it may run here."""
        in_hand = self._held.pop(trial_id, None)
        self._write()
        if in_hand is None or _is_over(in_hand):
            return
        contained(lambda: in_hand.running.stop("given to another node"))
        until = self._clock.monotonic() + DRAIN_LIMIT_S
        while not _is_over(in_hand) and self._clock.monotonic() < until:
            self._look(in_hand)
            self._clock.sleep(POLL_S)

    def _recover(self) -> None:
        """What an earlier process of this node has held; the driver hears of what cannot be saved by its absence."""
        try:
            noted = Noted.model_validate_json(read_plain(self._note, 1 << 20))
        except (Unreadable, ValidationError):
            return
        for trial_id, issue in noted.issues.items():
            running = contained(lambda name=trial_id: self._executor.adopt(name))  # type: ignore[misc]
            if running is not None and not isinstance(running, Escaped):
                self._held[trial_id] = _InHand(issue, running)

    def _write(self) -> None:
        noted = Noted(issues={name: in_hand.issue for name, in_hand in self._held.items()})
        contained(lambda: write_whole(self._note, noted.model_dump_json()))


class _Never:
    """A trial that could not even begin."""

    def poll(self) -> Progress | Outcome:
        raise NodeError("it could not begin")

    def stop(self, reason: str) -> None:
        pass

    def detach(self) -> None:
        pass


def _is_over(in_hand: _InHand) -> bool:
    return isinstance(in_hand.said, Outcome | str)
