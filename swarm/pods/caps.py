"""The first guard of money: what may be rented at all, and until when. Values in, values out.

All prices are USD an hour, all lengths seconds but where the name says hours.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from swarm.errors import UsageError
from swarm.pods.provider import Cloud, Offer

GRACE_S = 120.0
"""After its deadline a pod may go on for so long at most: its own watchdog syncs and ends it in that time, and whoever
watches ends it then."""
RESULTS_S = 600.0  # what a pod may run past its deadline when a person starts it for what is on its disk
SHORTEST_S = 60.0
PRICE_MARGIN, DISK_USD_H = 1.05, 0.02


def dearest(price_usd_h: float) -> float:
    """What a pod whose card was offered for this may cost in all, with its disk; one that costs more is ended."""
    return price_usd_h * PRICE_MARGIN + DISK_USD_H if price_usd_h > 0 else 0.0


@dataclass(frozen=True)
class Caps:
    """What one rental may cost. `max_price_usd_h` None: any price that the other two allow."""

    hours: float
    max_usd: float
    max_price_usd_h: float | None = None

    def __post_init__(self) -> None:
        """Raises UsageError. Not a number is none of these."""
        limits = (("--hours", self.hours, 0.01, 720), ("--max-usd", self.max_usd, 0.01, 10_000))
        for flag, value, low, high in limits:
            if not low <= value <= high:
                raise UsageError(f"{flag} is {value:g}; it is from {low:g} to {high:g}")
        if self.max_price_usd_h is not None and not 0 < self.max_price_usd_h <= 1000:
            raise UsageError(f"--max-price is {self.max_price_usd_h:g}; it is above 0 and at most 1000 USD an hour")

    def lifetime_s(self, price_usd_h: float) -> float:
        """How long a pod of this price may live, its grace paid for: the hours, or what the money lasts."""
        by_hours = self.hours * 3600
        if price_usd_h <= 0:
            return by_hours
        return min(by_hours, self.max_usd / dearest(price_usd_h) * 3600 - GRACE_S)

    def most_usd(self, price_usd_h: float) -> float:
        """The most that the pod's time can cost, grace and margin included."""
        return (self.lifetime_s(price_usd_h) + GRACE_S) / 3600 * dearest(price_usd_h)


@dataclass(frozen=True)
class Choice:
    """Offers in the order in which they are to be tried, and for each of the others why it is not."""

    offers: tuple[Offer, ...]
    passed_over: tuple[str, ...]


def choose(cards: Iterable[tuple[str, list[Offer]]], cloud: Cloud | None, caps: Caps) -> Choice:
    """Cards in the order of the person's preference, the cheaper cloud of each first."""
    wanted: list[Offer] = []
    passed: list[str] = []
    for card, offers in cards:
        if not offers:
            passed.append(f"{card}: not in the catalogue")
        for offer in sorted(offers, key=lambda one: one.price_usd_h):
            reason = _against(offer, cloud, caps)
            if reason is None:
                wanted.append(offer)
            else:
                passed.append(f"{offer.card}, {offer.cloud}: {reason}")
    return Choice(tuple(wanted), tuple(passed))


def _against(offer: Offer, cloud: Cloud | None, caps: Caps) -> str | None:
    if cloud is not None and offer.cloud != cloud:
        return f"--cloud is {cloud}"
    if caps.max_price_usd_h is not None and offer.price_usd_h > caps.max_price_usd_h:
        return f"{offer.price_usd_h:g} USD/h is above --max-price {caps.max_price_usd_h:g}"
    if caps.lifetime_s(offer.price_usd_h) < SHORTEST_S:
        return f"--max-usd {caps.max_usd:g} lasts less than {SHORTEST_S + GRACE_S:g} s at {offer.price_usd_h:g} USD/h"
    return None if offer.in_stock else "out of stock"
