"""Rent one pod, and never two: the ledger first, the request then, and after a lost reply the list before anything.

    rental = begin(ledger, intent, clock)
    pod = rent(Renting(pods, ledger, clock, say), rental, offers, order_of)

Each step may be the last one of this process. `rent` called again for the same name goes on from the ledger.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from swarm.clock import Clock
from swarm.errors import PodError
from swarm.failpoints import failpoint
from swarm.pods.caps import dearest
from swarm.pods.ledger import Entry, EntryKind, Intent, Ledger, Rental
from swarm.pods.provider import (
    NAME_PREFIX,
    NoCapacity,
    Offer,
    Pod,
    PodOrder,
    Pods,
    PodState,
    Refused,
    ReplyLost,
    Unreachable,
)

LOOK_AFTER_S = (0.0, 2.0, 4.0, 8.0, 16.0)
"""When the list is read after a lost reply: a provider may show a new pod late. One that shows up later still is ended
by whoever follows or lists (`extras`)."""
GONE_AFTER_S, GONE_WHEN_NEW_S = (0.0, 2.0, 4.0), (0.0, 4.0, 8.0, 16.0, 32.0)
"""When a pod that is not listed is asked for by its id before it counts as gone: a list may be late or short."""
NEW_S = 60.0
MAX_LOST = 2  # replies to one card's request; then nobody knows what this provider does
Say = Callable[[str], None]


@dataclass(frozen=True)
class Renting:
    pods: Pods
    ledger: Ledger
    clock: Clock
    say: Say

    def note(
        self, name: str, kind: EntryKind, why: str = "", *, pod_id: str | None = None, cost_usd: float | None = None
    ) -> None:
        """A line of the ledger, at this moment."""
        at = self.clock.now()
        self.ledger.append(Entry(at=at, name=name, kind=kind, why=why, pod_id=pod_id, cost_usd=cost_usd))


OrderOf = Callable[[Offer, float], PodOrder]
"""The order for an offer whose pod is to end at this moment (epoch seconds)."""


def unique_name(root: Path, now: float) -> str:
    """Of the repository's folder, the time and a few random letters: no two pods of ours have one name."""
    folder = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-")[:24] or "study"
    return f"{NAME_PREFIX}{folder}-{datetime.fromtimestamp(now, UTC):%y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def begin(renting: Renting, name: str, intent: Intent) -> Rental:
    """Writes down that a pod is wanted. From here on another process can go on."""
    renting.ledger.append(Entry(at=renting.clock.now(), name=name, kind=EntryKind.INTENT, intent=intent))
    return renting.ledger.rentals()[name]


def rent(renting: Renting, rental: Rental, offers: Sequence[Offer], order_of: OrderOf) -> Pod:
    """The pod of this rental: the one that there is, or the first of `offers` that can be had.

    Raises PaymentRequired or Refused with the rental ended; NoCapacity when none could be had, the rental ended too;
    Unreachable and ReplyLost with the rental open, since a pod may exist.
    """
    with renting.ledger.alone(rental.name):
        rental = renting.ledger.rentals()[rental.name]  # somebody may have gone on with it meanwhile
        pod = there_already(renting, rental)
        if pod is not None:
            return pod
        problem: PodError = NoCapacity("no card can be had: each is out of stock or above a limit")
        for offer in offers:
            try:
                return _one(renting, rental, offer, order_of)
            except NoCapacity as error:
                problem = error
            except Refused as error:
                if error.status != 403:  # this pool is not ours; another may be
                    end(renting, rental.name, str(error), 0.0)
                    raise
                problem = error
            renting.say(str(problem))
        end(renting, rental.name, str(problem), 0.0)
        raise problem


def there_already(renting: Renting, rental: Rental) -> Pod | None:
    """The pod of a rental that went so far before. Raises PodError for one that has ended."""
    if rental.ended is not None:
        raise PodError(f"{rental.name} has ended: {rental.ended.why}")
    if rental.pod_id is not None:
        found = renting.pods.get(rental.pod_id)
        if found is None:
            raise PodError(f"{rental.name} ({rental.pod_id}) is gone from {renting.pods.name}")
        return found
    if not rental.may_exist:
        return None
    renting.say(f"The last request for {rental.name} has no answer: looking whether there is a pod of that name.")
    return _settled(renting, rental.name)


def looked_up(renting: Renting, name: str) -> Rental:
    """The rental, with the pod of a request whose reply never came, if there is one."""
    if not renting.ledger.rentals()[name].may_exist:
        return renting.ledger.rentals()[name]
    with renting.ledger.alone(name):
        there_already(renting, renting.ledger.rentals()[name])
        return renting.ledger.rentals()[name]


def unlisted(renting: Renting, rental: Rental, *, seen: bool = True) -> Pod | None:
    """The pod of a rental that the list does not have. None for one that the provider does not know several times over;
    one that is new and was never `seen` in a list is waited for longer."""
    new = rental.asked is not None and renting.clock.now() - rental.asked.at < NEW_S and not seen
    for wait_s in GONE_WHEN_NEW_S if new else GONE_AFTER_S:
        renting.clock.sleep(wait_s)
        found = renting.pods.get(str(rental.pod_id))
        if found is not None:
            return found
    return None


def give_back(renting: Renting, rental: Rental, say: Say, *, keep_disk: bool) -> None:
    """Asks for the end of a pod while nobody says where it stands; may be repeated. One that may not be stopped is
    ended, as in `Follower`: what lies on it is worth less than a card that is paid for ever."""
    if rental.pod_id is None:
        return
    for ask in (renting.pods.stop, renting.pods.terminate) if keep_disk else (renting.pods.terminate,):
        try:
            return ask(rental.pod_id)
        except Refused as refused:
            say(f"Its deadline is past, and it cannot be ended from here: {refused}")
        except Unreachable:
            return


def _one(renting: Renting, rental: Rental, offer: Offer, order_of: OrderOf) -> Pod:
    name = rental.name
    for _ in range(MAX_LOST):
        now = renting.clock.now()
        deadline_at = now + rental.intent.caps.lifetime_s(offer.price_usd_h)
        order = order_of(offer, deadline_at)
        renting.ledger.append(
            Entry(
                at=now,
                name=name,
                kind=EntryKind.ASKED,
                card=offer.card,
                cloud=offer.cloud,
                price_usd_h=offer.price_usd_h,
                deadline_at=deadline_at,
            )
        )
        try:
            failpoint("pods.before_create")
            pod = renting.pods.create(order)
            failpoint("pods.after_create")
        except ReplyLost as lost:
            renting.say(f"{lost}. Looking before asking again.")
            found = _settled(renting, name)
            if found is not None:
                return found
            continue
        except PodError as error:
            renting.note(name, EntryKind.NOT_MADE, str(error))
            if not isinstance(error, (NoCapacity, Refused)):
                end(renting, name, str(error), 0.0)
            raise
        return _made(renting, name, pod)
    message = f"{renting.pods.name} lost {MAX_LOST} replies in a row, and lists no pod {name}. Try again later."
    end(renting, name, message, 0.0)
    raise ReplyLost(message)


def _made(renting: Renting, name: str, pod: Pod) -> Pod:
    """Writes it down. Raises Refused for one that is dearer than its offer, and ends it."""
    renting.note(name, EntryKind.MADE, pod_id=pod.id)
    offered = renting.ledger.rentals()[name].price_usd_h
    if pod.price_usd_h is not None and pod.price_usd_h > dearest(offered):
        renting.pods.terminate(pod.id)
        message = f"{name} costs {pod.price_usd_h:g} USD/h, more than the {offered:g} of the catalogue, and was ended"
        end(renting, name, message, None)
        raise Refused(message)
    return pod


def _settled(renting: Renting, name: str) -> Pod | None:
    """The pod of this name, or None once the provider has had time to show it. All but the oldest are ended."""
    for wait_s in LOOK_AFTER_S:
        renting.clock.sleep(wait_s)
        found = [pod for pod in renting.pods.list() if pod.name == name and pod.state is not PodState.ENDED]
        if found:
            oldest, *others = sorted(found, key=lambda pod: (pod.created_at or 0.0, pod.id))
            for other in others:
                renting.pods.terminate(other.id)
            return _made(renting, name, oldest)
    renting.note(name, EntryKind.NOT_MADE, "no pod of this name after a lost reply")
    return None


def extras(listed: Sequence[Pod], rental: Rental) -> list[Pod]:
    """Pods of a rental's name that are not its own: made by a request whose reply was lost, and seen late. None while
    it is not known which is its own."""
    if rental.pod_id is None:
        return []
    return [
        pod for pod in listed if pod.name == rental.name and pod.id != rental.pod_id and pod.state is not PodState.ENDED
    ]


def end(renting: Renting, name: str, why: str, cost_usd: float | None) -> float:
    """Books the end. `cost_usd` None: by the clock, until now. Gives what was booked."""
    rental = renting.ledger.rentals()[name]
    booked = round(rental.cost_usd(renting.clock.now()) if cost_usd is None else cost_usd, 6)
    renting.note(name, EntryKind.ENDED, why, cost_usd=booked)
    return booked
