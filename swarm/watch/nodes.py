"""Who works for a study whose trials run elsewhere, as its exchange says it to whoever looks."""

from pydantic import ValidationError

from swarm.clock import Clock
from swarm.errors import NodeError
from swarm.nodes.host import NODES, driver_address, read_address
from swarm.nodes.values import NodeSeen
from swarm.records import one_line
from swarm.study.settings import Layout
from swarm.watch.frame import Node

NODES_EVERY_S = 1.0
NODES_LIMIT_S = 1.0  # for an answer: whoever looks does not wait for long


class NodesSeen:
    """One look after the other. `trouble`: why the last one failed; None when it did not."""

    def __init__(self, clock: Clock) -> None:
        self.trouble: str | None = None
        self._clock = clock
        self._look = -NODES_EVERY_S
        self._seen: tuple[Node, ...] = ()

    def take(self, layout: Layout, study_id: str) -> tuple[Node, ...]:
        """Not older than NODES_EVERY_S; none where the exchange does not answer."""
        now = self._clock.monotonic()
        if now - self._look >= NODES_EVERY_S:
            try:
                self._seen, self.trouble = tuple(map(_node, ask_nodes(layout, study_id, NODES_LIMIT_S))), None
            except NodeError as problem:
                self._seen, self.trouble = (), one_line(f"no nodes to be seen: {problem}", 300)
            self._look = self._clock.monotonic()
        return self._seen


def ask_nodes(layout: Layout, study_id: str, limit_s: float) -> list[NodeSeen]:
    """Raises NodeError when the exchange of the study does not answer."""
    said = read_address(driver_address(layout, study_id)).caller(limit_s)("nodes", b"")
    try:
        return NODES.validate_json(said)
    except ValidationError as problem:
        raise NodeError(f"the exchange of {study_id} is of another version: {problem.error_count()} errors") from None


def _node(seen: NodeSeen) -> Node:
    facts = seen.facts
    return Node(
        name=facts.name,
        state=seen.state,
        device_class=facts.device_class,
        cards=len(facts.cards),
        free_mib=sum(card.free_mib for card in facts.cards),
        total_mib=sum(card.total_mib for card in facts.cards),
        cores=facts.cores,
        runs=tuple(map(one_line, seen.runs)),
        heard_s=seen.heard_s,
        refused=one_line(seen.refused, 300),
    )
