"""The policy under test, and the obvious ones that must fail the same invariants."""

from dataclasses import replace
from typing import Literal, Protocol

from swarm.admission.policy.core import decide
from swarm.admission.policy.events import Action, Event, Finished, Grant, Kill, Sampled, Submitted
from swarm.admission.policy.model import FOREVER, AdmissionState, Demand, Device, Hold, Host, opening
from swarm.admission.simulator.card import Card

PolicyName = Literal["swarm", "sequential", "count=2", "count=3", "free-memory-now", "kill-on-spike"]
POLICIES: tuple[PolicyName, ...] = ("swarm", "sequential", "count=2", "count=3", "free-memory-now", "kill-on-spike")
SPIKE_LINE = 0.95


class Policy(Protocol):
    caps: bool
    reserves: bool

    def handle(self, event: Event, now: float) -> tuple[Action, ...]: ...

    def waiting(self) -> tuple[Demand, ...]: ...


class SwarmPolicy:
    """`decide`, with its state."""

    caps = True
    reserves = True

    def __init__(self, cards: list[Card]) -> None:
        devices = tuple(Device(card.uuid, card.uuid, card.total_mib, card.reserved_mib) for card in cards)
        devices = tuple(replace(device, free_mib=device.usable_mib) for device in devices)
        plenty = 1 << 30
        self.state: AdmissionState = opening(devices, Host(plenty, plenty))

    def handle(self, event: Event, now: float) -> tuple[Action, ...]:
        self.state, actions = decide(self.state, event, now)
        return actions

    def waiting(self) -> tuple[Demand, ...]:
        return self.state.queue


class CountPolicy:
    """At most n jobs a card, whatever they need. What a person does by hand."""

    caps = False
    reserves = False

    def __init__(self, cards: list[Card], limit: int) -> None:
        self._cards = cards
        self._limit = limit
        self._queue: list[Demand] = []

    def handle(self, event: Event, now: float) -> tuple[Action, ...]:
        if isinstance(event, Submitted):
            self._queue.append(event.demand)
        elif not isinstance(event, Finished):
            return ()
        grants: list[Action] = []
        taken = {card.uuid: len(card.processes) for card in self._cards} if self._queue else {}
        while self._queue:
            uuid = min(taken, key=lambda name: taken[name])
            if taken[uuid] >= self._limit:
                break
            taken[uuid] += 1
            demand = self._queue.pop(0)
            grants.append(Grant(Hold(demand.ticket_id, demand.memory_mib, FOREVER), uuid))
        return tuple(grants)

    def waiting(self) -> tuple[Demand, ...]:
        return tuple(self._queue)


class FreeMemoryPolicy:
    """Start whatever fits into the memory that is free at this moment. What a script around nvidia-smi does."""

    caps = False
    reserves = False

    def __init__(self, cards: list[Card]) -> None:
        self._cards = cards
        self._queue: list[Demand] = []

    def handle(self, event: Event, now: float) -> tuple[Action, ...]:
        if isinstance(event, Submitted):
            self._queue.append(event.demand)
        if not self._queue:
            return ()
        # Among equally free cards the one with fewer jobs: a job takes some seconds to show.
        free = sorted(((card.free_mib, -len(card.processes), card.uuid) for card in self._cards), reverse=True)
        grants: list[Action] = []
        for demand in list(self._queue):
            room, _, uuid = free[0]
            if demand.memory_mib <= room and all(grant.uuid != uuid for grant in grants if isinstance(grant, Grant)):
                self._queue.remove(demand)
                grants.append(Grant(Hold(demand.ticket_id, demand.memory_mib, FOREVER), uuid))
        return tuple(grants)

    def waiting(self) -> tuple[Demand, ...]:
        return tuple(self._queue)


class KillOnSpikePolicy(SwarmPolicy):
    """Ours, but it kills the youngest job when a card is nearly full. What a memory watchdog does."""

    def __init__(self, cards: list[Card]) -> None:
        super().__init__(cards)
        self._cards = {card.uuid: card for card in cards}

    def handle(self, event: Event, now: float) -> tuple[Action, ...]:
        actions = super().handle(event, now)
        if not isinstance(event, Sampled):
            return actions
        card = self._cards[event.reading.uuid]
        if card.processes and card.usable_mib - event.reading.free_mib > SPIKE_LINE * card.usable_mib:
            youngest = list(card.processes)[-1]
            return (*actions, Kill(youngest, f"{card.uuid} is nearly full"))
        return actions


def make_policy(name: PolicyName, cards: list[Card]) -> Policy:
    match name:
        case "swarm":
            return SwarmPolicy(cards)
        case "sequential":
            return CountPolicy(cards, 1)
        case "count=2":
            return CountPolicy(cards, 2)
        case "count=3":
            return CountPolicy(cards, 3)
        case "free-memory-now":
            return FreeMemoryPolicy(cards)
        case "kill-on-spike":
            return KillOnSpikePolicy(cards)
