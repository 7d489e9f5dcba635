"""When a pod ends. Pure: facts in, a reason out."""

from dataclasses import dataclass, field

from swarm.pods.inside.told import Order

SET_UP_LIMIT_S = 2700.0  # torch and its libraries are about 5 GB
CLOSING_SHARE = 0.2  # of its whole life is the most that a pod keeps for its ending
CLOSING_S = 600.0
LAST_WORDS_S = 120.0  # of which this much for what cannot be put off: stop, report, push
LAST_WORDS_SHARE = 0.08


@dataclass(frozen=True, slots=True)
class Facts:
    """What the watchdog knows at one moment. Times are seconds."""

    spent_s: float
    left_s: float
    phase: str  # waiting, setting_up, running, over
    phase_s: float  # since the phase began
    quiet_s: float  # since the brain last got a record, or the phase began
    trial_runs: bool
    alive: bool  # the process of `swarm up`, or what leads to it
    down: bool
    gain_per_usd: float | None  # over the last quarter of the money, None before that is spent


def closing_s(order: Order) -> float:
    """How long before its end a pod lets no new trial begin."""
    return min(CLOSING_S, CLOSING_SHARE * order.paid_s)


def last_words_s(order: Order) -> float:
    """How long before its end the running trials are stopped."""
    return min(LAST_WORDS_S, LAST_WORDS_SHARE * order.paid_s)


def reason_to_end(order: Order, facts: Facts) -> str | None:
    """Why the pod begins to end now, in words; None as long as it goes on."""
    if facts.down:
        return "asked to end"
    if facts.left_s <= closing_s(order):
        return _which_limit(order, facts)
    return _no_use(order, facts) or _too_little(order, facts)


def _no_use(order: Order, facts: Facts) -> str | None:
    """Nothing comes of it any more."""
    if facts.phase == "over":
        return "the study ended"
    if facts.phase == "waiting" and facts.phase_s > order.bundle_wait_s:
        return f"no code came within {order.bundle_wait_s:.0f} s"
    if facts.phase == "setting_up" and facts.phase_s > SET_UP_LIMIT_S:
        return f"not set up within {SET_UP_LIMIT_S:.0f} s"
    if facts.phase == "running" and facts.quiet_s > order.idle_s and not (facts.trial_runs and facts.alive):
        return f"idle: no record for {facts.quiet_s:.0f} s and no trial runs"
    return None


def _too_little(order: Order, facts: Facts) -> str | None:
    wanted, gained = order.min_gain_per_usd, facts.gain_per_usd
    if wanted is not None and gained is not None and gained < wanted:
        return f"the last quarter of the money gained {gained:.4g} a USD, below {wanted:.4g}"
    return None


def _which_limit(order: Order, facts: Facts) -> str:
    if order.paid_s < order.lifetime_s and order.paid_s - facts.spent_s <= facts.left_s:
        return f"the money: {order.usd(facts.spent_s):.2f} of {order.max_usd:.2f} USD are spent"
    return "the deadline"


@dataclass(slots=True)
class Gains:
    """What the money has brought: (USD spent, cost of the incumbent) at each change."""

    budget_usd: float
    points: list[tuple[float, float]] = field(default_factory=list)

    def note(self, usd: float, cost: float | None) -> None:
        if cost is not None and (not self.points or self.points[-1][1] != cost):
            self.points.append((usd, cost))

    def per_usd(self, usd: float) -> float | None:
        """Fall of the incumbent's cost over the last quarter of the money, a USD. None while less than a quarter is
        spent since there was a first result, and for a machine that costs nothing."""
        window = self.budget_usd / 4
        if window <= 0 or not self.points or usd - self.points[0][0] < window:
            return None
        before = [cost for at, cost in self.points if at <= usd - window]
        return (before[-1] - self.points[-1][1]) / window
