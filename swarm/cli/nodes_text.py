"""Prints who works for the running study."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from swarm.errors import UsageError
from swarm.nodes.door import TIMEOUT_S
from swarm.nodes.host import NODES
from swarm.nodes.values import NodeSeen
from swarm.orchestrator.control import holder
from swarm.repo import Repo
from swarm.study.settings import Layout
from swarm.watch.nodes import ask_nodes


def print_nodes(cwd: Path, *, as_json: bool) -> None:
    """Raises UsageError when no study runs here, NodeError when it has no exchange."""
    layout = Layout(root=Repo.open(cwd).root)
    running = holder(layout)
    if running is None:
        raise UsageError("no study runs here, so it has no nodes: `swarm up --executor nodes` starts one that has")
    seen = ask_nodes(layout, running.study_id, TIMEOUT_S)
    if as_json:
        print(NODES.dump_json(seen).decode())
    else:
        Console().print(table(seen) if seen else "no node has joined yet")


def table(seen: Sequence[NodeSeen]) -> Table:
    drawn = Table("node", "state", "device", "memory", "cores", "runs", "heard", box=None, pad_edge=False)
    for node in seen:
        facts = node.facts
        memory = ", ".join(f"{card.free_mib} of {card.total_mib} MiB free" for card in facts.cards)
        drawn.add_row(
            facts.name,
            node.state,
            f"{len(facts.cards)} x {facts.device_class}",
            memory,
            str(facts.cores),
            ", ".join(node.runs) or node.refused or "-",
            f"{node.heard_s:.1f} s ago",
        )
    return drawn
