"""The third guard of money: what the provider has, against what the ledger says. Asked at each `swarm up`, at each list
and by `swarm doctor`. It ends nothing but second pods of one name; a person ends the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from swarm.pods.ledger import Rental
from swarm.pods.provider import Pod, PodState
from swarm.pods.renting import Renting, end, extras, unlisted


class Standing(StrEnum):
    OPEN = "open"  # as it should be
    UNSURE = "unsure"  # a request has no answer, and no pod of that name is listed
    OVERDUE = "overdue"  # past its deadline and its grace
    ORPHAN = "orphan"  # nobody here waits for it: not in the ledger, or booked as ended
    STOPPED = "stopped"  # its disk still costs, and may hold results


@dataclass(frozen=True)
class Account:
    """One pod or rental. `cost_usd` is an upper bound of the card's time so far, None where nobody knows since when."""

    name: str
    standing: Standing
    pod: Pod | None
    rental: Rental | None
    cost_usd: float | None

    @property
    def needs_a_person(self) -> bool:
        return self.standing is not Standing.OPEN

    def line(self) -> str:
        price = self.pod.price_usd_h if self.pod is not None else None
        price = price if price is not None or self.rental is None else self.rental.price_usd_h
        cost = "an unknown sum" if self.cost_usd is None else f"{self.cost_usd:.4f} USD"
        so_far = f"{cost} so far" + ("" if price is None else f", {price:g} USD/h")
        remedy = "" if self.standing is Standing.OPEN else f". End it: swarm pod down {self.name}"
        return f"{self.name}: {self.standing}, {so_far}{remedy}"


def reconcile(renting: Renting, listed: Sequence[Pod]) -> list[Account]:
    """Books the end of rentals whose pods are gone, ends second pods of one name, and gives what is left.

    `listed` is what the provider lists now; rentals of other providers are not looked at.
    """
    now = renting.clock.now()
    found: list[Account] = []
    known: set[str] = set()
    for rental in renting.ledger.rentals().values():
        if rental.intent.provider != renting.pods.name:
            continue
        for extra in extras(listed, rental):
            renting.say(f"{extra.name}: a second pod ({extra.id}), of a request whose reply was lost. Ended.")
            renting.pods.terminate(extra.id)
            known.add(extra.id)
        account = _account(renting, rental, listed, now)
        if account is not None:
            found.append(account)
        known |= {pod.id for pod in listed if account is not None and account.pod is pod}
    strangers = [pod for pod in listed if pod.id not in known and pod.state is not PodState.ENDED]
    found += [Account(pod.name, Standing.ORPHAN, pod, None, _since(pod, now)) for pod in strangers]
    return found


def _account(renting: Renting, rental: Rental, listed: Sequence[Pod], now: float) -> Account | None:
    """None for one that needs nothing more."""
    own = [pod for pod in listed if pod.id == rental.pod_id or (rental.pod_id is None and pod.name == rental.name)]
    pod = next((one for one in own if one.state is not PodState.ENDED), None)
    cost = rental.cost_usd(now)
    if pod is None and rental.ended is None and rental.pod_id is not None:
        pod = unlisted(renting, rental, seen=False)  # it may have been made since it was listed
        if pod is None or pod.state is PodState.ENDED:
            end(renting, rental.name, "gone from the provider's list", rental.bounded_usd(now))
            return None
    if pod is None:
        if rental.may_exist:
            return Account(rental.name, Standing.UNSURE, None, rental, cost)
        return None
    if rental.ended is not None:
        since = _since(pod, now)
        return Account(rental.name, Standing.ORPHAN, pod, rental, since)
    if pod.state is PodState.STOPPED:
        return Account(rental.name, Standing.STOPPED, pod, rental, cost)
    return Account(rental.name, Standing.OVERDUE if rental.overdue(now) else Standing.OPEN, pod, rental, cost)


def _since(pod: Pod, now: float) -> float | None:
    if pod.created_at is None or pod.price_usd_h is None:
        return None
    return max(0.0, now - pod.created_at) / 3600 * pod.price_usd_h
