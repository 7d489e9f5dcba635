"""Who runs what: orders that wait, orders that nodes hold, and their ends. No files, no clock, no network.

An order is in one of three states.

    waiting --beat of a node that wants--> leased --outcome--> over
       ^                                     |
       +---- given back, or no beat for LEASE_S

Each time that an order is given out its `issue` goes up. What a node says of an order counts only under the latest
issue, so that of two nodes which both believe to have a trial one is heard, and a trial has one ending. A node that was
silent for too long and comes back before its order was given to another goes on with it.

Not promised: that the work of a lost node is saved. Its trial begins anew.
"""

from collections.abc import Iterable

from swarm.execution.executor import Outcome, Progress, TrialOrder
from swarm.nodes.entry import (
    MISSED_BEATS,
    Entry,
    Node,
    counts,
    on_node,
    other_device,
    refusal,
    seen,
    started_on,
    stopped,
)
from swarm.nodes.values import BEAT_S, LEASE_S, Answer, Beat, Held, Lease, Look, NodeFacts, NodeSeen, Terms
from swarm.records import FailReason

LOSSES_ALLOWED = 2  # nodes that may be lost with a trial, after which it is not run again


class Exchange:
    """Of one study. `now` is seconds of a monotonic clock, everywhere. For one thread at a time."""

    def __init__(
        self,
        terms: Terms,
        now: float,
        *,
        entries: Iterable[Entry] = (),
        device_class: str | None = None,
        lease_s: float = LEASE_S,
    ) -> None:
        """`entries` and `device_class` are those of an earlier run, which its nodes may hold still: they have a whole
        lease to say so."""
        self.terms = terms
        self.device_class = device_class
        self.ended = False
        self.changed: set[str] = set()  # trials whose entry is another than when it was last written down
        self.leases = 0  # given out by this exchange, for whoever measures
        self._lease_s = lease_s
        self._began = now
        self._entries = {entry.order.trial_id: entry for entry in entries}
        self._open = {name: entry for name, entry in self._entries.items() if entry.state != "over"}
        self._nodes: dict[str, Node] = {}

    def entry(self, trial_id: str) -> Entry | None:
        return self._entries.get(trial_id)

    def submit(self, order: TrialOrder) -> None:
        """A new order, in place of any earlier one of the trial: what a node holds of that counts no more."""
        before = self._entries.get(order.trial_id)
        if before is not None:
            self._release(before)
        entry = Entry(order=order, issue=before.issue + 1 if before is not None else 0)
        self._entries[order.trial_id] = self._open[order.trial_id] = entry
        self.changed.add(order.trial_id)

    def look(self, trial_id: str, now: float) -> Look | None:
        """None where nothing is known of the trial."""
        self._expire(now)
        entry = self._entries.get(trial_id)
        if entry is None:
            return None
        progress = entry.progress or Progress(state="waiting", why=self._why(now))
        return Look(progress=progress, outcome=entry.outcome, broken=entry.broken)

    def stop(self, trial_id: str, reason: str) -> None:
        """End it; nothing happens after the end."""
        entry = self._open.get(trial_id)
        if entry is None or entry.stop is not None:
            return
        entry.stop = reason
        self.changed.add(trial_id)
        if entry.state == "waiting":
            self._end(entry, stopped(reason))

    def leave(self, trial_id: str) -> None:
        """Its worker walks away: what has not started is forgotten, what runs goes on."""
        entry = self._open.get(trial_id)
        if entry is not None and (entry.progress is None or entry.progress.started is None):
            self._release(entry)
            del self._entries[trial_id], self._open[trial_id]
            self.changed.add(trial_id)

    def drop_weights(self, trial_id: str) -> None:
        entry = self._entries.get(trial_id)
        if entry is not None and (node := self._nodes.get(entry.node)) is not None:
            node.drop_weights.append(trial_id)

    def beat(self, beat: Beat, now: float) -> tuple[Answer, list[Held]]:
        """The answer to a node, and those of its words that ended a trial."""
        if (namesake := self._namesake(beat.facts, now)) is not None:
            return Answer(refused=namesake, forget=tuple(held.trial_id for held in beat.held)), []
        node = self._node(beat, now)
        forget, endings = [], []
        for held in beat.held:
            entry = self._entries.get(held.trial_id)
            if entry is None or not counts(entry, held, node):
                forget.append(held.trial_id)
                continue
            if self._heard(entry, held, node):
                endings.append(held)
            if held.trial_id not in node.holds:
                forget.append(held.trial_id)
        given = self._missing(node, {held.trial_id for held in beat.held})
        if node.refused:
            given = None
            for entry in list(node.holds.values()):
                self._lose(entry, f"node {node.facts.name} was refused")
        self._expire(now)
        if self.ended:
            return Answer(ended=True, forget=tuple(held.trial_id for held in beat.held)), endings
        if given is None and beat.wants and not node.refused:
            given = self._give_out(node, now)
        weights, node.drop_weights = tuple(node.drop_weights), []
        return (
            Answer(
                refused=node.refused,
                lease=Lease(issue=given.issue, order=given.order) if given is not None else None,
                stops={name: entry.stop for name, entry in node.holds.items() if entry.stop is not None},
                forget=tuple(forget),
                drop_weights=weights,
            ),
            endings,
        )

    def nodes(self, now: float) -> list[NodeSeen]:
        return [seen(node, now) for _, node in sorted(self._nodes.items())]

    def _node(self, beat: Beat, now: float) -> Node:
        name = beat.facts.name
        node = self._nodes.get(name)
        if node is None:
            node = self._nodes[name] = Node(beat.facts)
            node.holds = {
                trial: entry for trial, entry in self._open.items() if entry.state == "leased" and entry.node == name
            }
        if node.facts.pid != beat.facts.pid:  # another process, which may have been set right
            node.ran_on = ""
        node.facts, node.heard, node.wants = beat.facts, now, beat.wants
        node.ran_on = next(filter(None, (other_device(held, beat.facts) for held in beat.held)), node.ran_on)
        node.refused = refusal(beat.facts, self.terms, self.device_class, node.ran_on)
        return node

    def _namesake(self, facts: NodeFacts, now: float) -> str | None:
        """Two machines of one name would each seem to have lost what the other one runs. The first is heard, and the
        other one once that has been silent for a lease."""
        known = self._nodes.get(facts.name)
        if known is None or known.facts.place == facts.place or now - known.heard > self._lease_s:
            return None
        return f"another node is called {facts.name}: give this one a name of its own, with --name"

    def _heard(self, entry: Entry, held: Held, node: Node) -> bool:
        """Takes a node's word about its order. True when the trial has ended by it."""
        if entry.state == "over":
            return False
        if held.returned:
            self._again(entry)
            return False
        if held.broken is not None:
            return self._pass_on(entry, node, None, held.broken)
        if held.outcome is None:
            if entry.state != "leased" or entry.progress is None:  # steps are not worth a write of the whole order
                self.changed.add(held.trial_id)
            entry.state, entry.progress = "leased", on_node(held.progress, node)
            node.holds[held.trial_id] = entry
            return False
        if held.outcome.reason is FailReason.INFEASIBLE and held.outcome.started is None and entry.stop is None:
            return self._pass_on(entry, node, held.outcome, None)
        self._end(entry, held.outcome.model_copy(update={"started": started_on(held.outcome.started, node)}))
        return True

    def _pass_on(self, entry: Entry, node: Node, outcome: Outcome | None, broken: str | None) -> bool:
        """This node cannot run it: another may, and where none is left its word is the end."""
        entry.passed = (*entry.passed, node.facts.name)
        self.changed.add(entry.order.trial_id)
        if any(name not in entry.passed and not other.refused for name, other in self._nodes.items()):
            self._again(entry)
            return False
        entry.broken = broken
        self._end(entry, outcome)
        return True

    def _missing(self, node: Node, named: set[str]) -> Entry | None:
        """Orders that the node was given and does not name. One that it never named did not reach it and is given once
        more; the others it has lost, with its process or its disk."""
        unnamed = [entry for name, entry in node.holds.items() if name not in named]
        for entry in unnamed:
            if entry.progress is not None:
                self._lose(entry, f"node {node.facts.name} has lost it")
        return next((entry for entry in unnamed if entry.progress is None and entry.state == "leased"), None)

    def _expire(self, now: float) -> None:
        if now - self._began < self._lease_s:  # nodes of an earlier run have not been heard yet
            return
        for entry in [entry for entry in self._open.values() if entry.state == "leased"]:
            node = self._nodes.get(entry.node)
            if now - (node.heard if node is not None else self._began) > self._lease_s:
                self._lose(entry, f"node {entry.node} was not heard for {self._lease_s:.0f} s")

    def _lose(self, entry: Entry, why: str) -> None:
        entry.lost += 1
        self.changed.add(entry.order.trial_id)
        if entry.lost <= LOSSES_ALLOWED or entry.stop is not None:
            self._again(entry)
        else:
            detail = f"{entry.lost} nodes were lost with it, the last one: {why}"
            self._end(entry, Outcome(reason=FailReason.ABANDONED, detail=detail))

    def _again(self, entry: Entry) -> None:
        self._release(entry)
        entry.state, entry.progress = "waiting", None
        self.changed.add(entry.order.trial_id)
        if entry.stop is not None:
            self._end(entry, stopped(entry.stop))

    def _end(self, entry: Entry, outcome: Outcome | None) -> None:
        self._release(entry)
        self._open.pop(entry.order.trial_id, None)
        entry.state, entry.outcome = "over", outcome
        entry.order = entry.order.model_copy(update={"files": {}})  # nobody runs it again from here
        self.changed.add(entry.order.trial_id)

    def _release(self, entry: Entry) -> None:
        if (node := self._nodes.get(entry.node)) is not None:
            node.holds.pop(entry.order.trial_id, None)

    def _give_out(self, node: Node, now: float) -> Entry | None:
        """The next order for a node that wants one, unless another that wants one holds fewer."""
        if any(
            other.wants
            and not other.refused
            and len(other.holds) < len(node.holds)
            and now - other.heard <= MISSED_BEATS * BEAT_S
            for other in self._nodes.values()
        ):
            return None
        waiting = (entry for entry in self._open.values() if entry.state == "waiting")
        entry = next((entry for entry in waiting if node.facts.name not in entry.passed), None)
        if entry is None:
            return None
        entry.issue += 1
        entry.state, entry.node, entry.progress = "leased", node.facts.name, None
        node.holds[entry.order.trial_id] = entry
        self.leases += 1
        self.changed.add(entry.order.trial_id)
        self.device_class = self.device_class or node.facts.device_class
        return entry

    def _why(self, now: float) -> str:
        alive = [n for n in self._nodes.values() if not n.refused and now - n.heard <= self._lease_s]
        if alive:
            return f"{len(alive)} nodes are busy" if len(alive) > 1 else f"node {alive[0].facts.name} is busy"
        refused = [f"; {node.facts.name} is refused: {node.refused}" for node in self._nodes.values() if node.refused]
        return f"no node is there{refused[0] if refused else ''}"
