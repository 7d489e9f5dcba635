"""What the exchange keeps of an order and of a node. Pure."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from swarm.execution.executor import Outcome, Progress, Started, TrialOrder
from swarm.nodes.values import BEAT_S, Held, NodeFacts, NodeSeen, Terms
from swarm.records import FailReason

MISSED_BEATS = 3  # a node that has missed so many is not waited for when an order is given out


class Entry(BaseModel):
    """One order, as it is written down."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    order: TrialOrder
    state: Literal["waiting", "leased", "over"] = "waiting"
    issue: int = 0
    node: str = ""
    lost: int = 0
    passed: tuple[str, ...] = ()  # nodes that cannot run it
    stop: str | None = None
    progress: Progress | None = None
    outcome: Outcome | None = None
    broken: str | None = None


class Node:
    def __init__(self, facts: NodeFacts) -> None:
        self.facts = facts
        self.refused = ""
        self.ran_on = ""  # what its trials ran on, where that is not what it says
        self.heard = 0.0
        self.wants = False
        self.holds: dict[str, Entry] = {}
        self.drop_weights: list[str] = []


def refusal(facts: NodeFacts, terms: Terms, device_class: str | None, ran_on: str) -> str:
    """Why a node may not run a study's trials; empty when it may. `device_class`: the study's; None before its first
    trial. `ran_on`: a device that trials of the node ran on, and that is not what it says to have."""
    if ran_on:
        return f"it says that it is a {facts.device_class[:40]}, and its trials ran on a {ran_on[:40]}"
    for what, has, wanted in (
        ("version", facts.version, terms.version),
        ("harness", facts.harness_sha256, terms.harness_sha256),
        ("data", facts.data_sha256, terms.data_sha256),
        ("device", facts.device, terms.device),
        ("device class", facts.device_class, device_class or facts.device_class),
    ):
        if has != wanted:
            return f"another {what}: it has {has[:40]}, the study {wanted[:40]}. Its results would not compare."
    return ""


def other_device(held: Held, facts: NodeFacts) -> str:
    """What this trial ran on, where that is not what its node says to have."""
    said = held.outcome or held.progress
    ran_on = said.started.device_class if said is not None and said.started is not None else ""
    return ran_on if ran_on not in ("", facts.device_class) else ""


def counts(entry: Entry, held: Held, node: Node) -> bool:
    """Whether the node speaks under the latest issue: the fence. An entry that waits again because its node was silent
    still is that node's, until it is given to another."""
    return held.issue == entry.issue and entry.issue > 0 and entry.node == node.facts.name and not node.refused


def seen(node: Node, now: float) -> NodeSeen:
    silent = now - node.heard > MISSED_BEATS * BEAT_S
    return NodeSeen(
        facts=node.facts,
        state="silent" if silent else "refused" if node.refused else "working" if node.holds else "idle",
        heard_s=round(now - node.heard, 1),
        runs=tuple(node.holds),
        refused=node.refused,
    )


def on_node(progress: Progress | None, node: Node) -> Progress | None:
    if progress is None:
        return None
    return progress.model_copy(update={"started": started_on(progress.started, node)})


def started_on(started: Started | None, node: Node) -> Started | None:
    if started is None:
        return None
    return started.model_copy(update={"node": node.facts.name, "device_class": node.facts.device_class})


def stopped(reason: str) -> Outcome:
    pruned = reason.startswith("pruned")
    return Outcome(
        reason=FailReason.PRUNED if pruned else FailReason.ABANDONED, detail=f"{reason} while no node ran it"
    )
