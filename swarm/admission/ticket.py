"""A waiting request: a lock that keeps its place, and a sentence that says what it waits for."""

from typing import Protocol

from swarm.admission.lease import Lease
from swarm.admission.ledger.entries import TicketEntry
from swarm.admission.policy.predict import Prediction
from swarm.admission.policy.request import Request


class TicketKeeper(Protocol):
    """What a ticket asks of the controller that issued it."""

    def try_grant(self, ticket: "Ticket") -> Lease | str: ...
    def withdraw(self, ticket: "Ticket") -> None: ...


class Ticket:
    """A place in the queue. It is lost when this process dies, and kept while it only sleeps."""

    def __init__(
        self,
        keeper: TicketKeeper,
        request: Request,
        entry: TicketEntry,
        prediction: Prediction,
        descriptor: int,
    ) -> None:
        self.request = request
        self.prediction = prediction
        self.entry = entry
        self.descriptor = descriptor
        self.why = "it has not looked yet"
        self._keeper = keeper
        self._open = True

    @property
    def ticket_id(self) -> str:
        return self.entry.demand.ticket_id

    @property
    def memory_mib(self) -> int:
        """The reservation that it waits for."""
        return self.entry.demand.memory_mib

    def poll(self) -> Lease | None:
        """One look. None while it has to wait; `why` then says in a sentence for what."""
        answer = self._keeper.try_grant(self)
        if isinstance(answer, str):
            self.why = answer
            return None
        self._open = False
        return answer

    def withdraw(self) -> None:
        """Give the place up. Does nothing after a grant."""
        if self._open:
            self._open = False
            self._keeper.withdraw(self)
