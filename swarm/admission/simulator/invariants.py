"""The invariants of the policy, checked against the simulated cards and not against the policy's own state.

    I1 sum(max(R, use)) + foreign + headroom <= usable at each grant
    I2 no out-of-memory of the device while foreign growth stays within the headroom
    I3 only the job that passes its own reservation dies of memory
    I4 no kill without ten seconds over the own reservation
    I5 the head of the queue starts within (4 + 1) * (deadline + grace)
    I6 a head that fits starts at once
    I7 a lease of a dead job is gone within 15 s
    I8 a throttle is gone ten minutes after its cause
    I11 nothing starts on a lost card
    I12 what ran on a card when it was lost is ended within 15 s

I9 (same seed, same log) and I10 (replay changes nothing) compare whole runs and are tests.
"""

from dataclasses import dataclass, field

from swarm.admission.policy.model import DRAIN_LIMIT_S, FOREIGN_WINDOW_S, MAX_BYPASSES, THROTTLE_WINDOW_S, Demand
from swarm.admission.simulator.card import Card
from swarm.admission.simulator.policies import Policy, SwarmPolicy
from swarm.admission.simulator.report import Violation

KEEP = 10
RECLAIM_S = 15.0
OVER_S = 10.0
POLL_S = 1.0


@dataclass
class Checker:
    """Collects violations; keeps the first ten of each kind."""

    cards: dict[str, Card]
    walltime_limit_s: float
    violations: list[Violation] = field(default_factory=list)
    _head: tuple[str, float] | None = None
    _blocked_since: float | None = None
    _unsettled_until: dict[str, float] = field(default_factory=dict)
    _over_since: dict[str, float] = field(default_factory=dict)
    _dead: dict[str, float] = field(default_factory=dict)
    _on_lost: dict[str, float] = field(default_factory=dict)
    _oom_at: float = -THROTTLE_WINDOW_S

    def granted(self, card: Card, now: float) -> None:
        if card.lost:
            self._add("I11", now, f"{card.uuid} is lost")
        total = card.counted_mib + card.foreign_mib + card.headroom_mib
        if total > card.usable_mib:
            self._add("I1", now, f"{total} MiB promised of {card.usable_mib} on {card.uuid}")

    def out_of_memory(self, card: Card, run_id: str, now: float, *, device: bool) -> None:
        if not device:
            return
        self._oom_at = now
        self._add("I2", now, f"{card.uuid} was full")
        process = card.processes[run_id]
        if process.used_mib <= process.reservation_mib:
            self._add("I3", now, f"{run_id} died within its reservation")

    def killed(self, run_id: str, now: float) -> None:
        since = self._over_since.get(run_id)
        if since is None or now - since < OVER_S:
            self._add("I4", now, f"{run_id} was killed without ten seconds over its reservation")

    def lost(self, card: Card, now: float) -> None:
        self._on_lost |= dict.fromkeys(card.processes, now)

    def used(self, card: Card, run_id: str, now: float) -> None:
        if card.processes[run_id].over:
            self._over_since.setdefault(run_id, now)
        else:
            self._over_since.pop(run_id, None)

    def changed_outside(self, card: Card, now: float) -> None:
        """Foreign memory moved: the policy may hold back for its window."""
        self._unsettled_until[card.uuid] = now + FOREIGN_WINDOW_S + POLL_S

    def ended(self, card: Card, run_id: str, now: float, *, silently: bool) -> None:
        self._over_since.pop(run_id, None)
        self._on_lost.pop(run_id, None)
        settled = self._unsettled_until.get(card.uuid, 0.0)
        self._unsettled_until[card.uuid] = max(settled, now + DRAIN_LIMIT_S + RECLAIM_S)
        if silently:
            self._dead[run_id] = now

    def looked(self, policy: Policy, now: float) -> None:
        """After each decision."""
        queue = policy.waiting()
        self._check_head(queue, now)
        for run_id in [name for name, since in self._on_lost.items() if now - since > RECLAIM_S]:
            self._add("I12", now, f"{run_id} still runs on a lost card")
            del self._on_lost[run_id]
        if isinstance(policy, SwarmPolicy):
            self._check_reclaim(policy, now)
            self._check_throttle(policy, now)

    def _check_head(self, queue: tuple[Demand, ...], now: float) -> None:
        head = queue[0] if queue else None
        if head is None or self._head is None or head.ticket_id != self._head[0]:
            self._head = None if head is None else (head.ticket_id, now)
            self._blocked_since = None
            return
        living = [card for card in self.cards.values() if not card.lost]
        if not any(head.memory_mib + c.foreign_mib + c.headroom_mib <= c.usable_mib for c in living):
            self._head = (head.ticket_id, now)  # others have the memory: no policy can bound that wait
            return
        bound = (MAX_BYPASSES + 1) * self.walltime_limit_s
        if now - self._head[1] > bound:
            self._add("I5", now, f"{head.ticket_id} has been first in line for {now - self._head[1]:.0f} s")
            self._head = (head.ticket_id, now)
        if not self._fits_somewhere(head, now):
            self._blocked_since = None
        elif self._blocked_since is None:
            self._blocked_since = now
        elif now - self._blocked_since > POLL_S:
            self._add("I6", now, f"{head.ticket_id} waits for {head.memory_mib} MiB although they are free")
            self._blocked_since = None

    def _fits_somewhere(self, head: Demand, now: float) -> bool:
        throttled = now - self._oom_at < THROTTLE_WINDOW_S
        if head.alone or throttled:
            return False
        return any(
            not card.lost
            and now >= self._unsettled_until.get(card.uuid, 0.0)
            and not any(process.alone for process in card.processes.values())
            and card.counted_mib + card.foreign_mib + card.headroom_mib + head.memory_mib <= card.usable_mib
            for card in self.cards.values()
        )

    def _check_reclaim(self, policy: SwarmPolicy, now: float) -> None:
        for run_id, died in list(self._dead.items()):
            if run_id not in policy.state.located:
                del self._dead[run_id]
            elif now - died > RECLAIM_S:
                self._add("I7", now, f"{run_id} died {now - died:.0f} s ago and still holds a lease")
                del self._dead[run_id]

    def _check_throttle(self, policy: SwarmPolicy, now: float) -> None:
        if now - self._oom_at <= THROTTLE_WINDOW_S + FOREIGN_WINDOW_S:
            return
        for device in policy.state.devices.values():
            if any(now - throttle.at_s > 2 * THROTTLE_WINDOW_S for throttle in device.throttles):
                self._add("I8", now, f"{device.uuid} is still throttled")

    def _add(self, invariant: str, now: float, what: str) -> None:
        if sum(violation.invariant == invariant for violation in self.violations) < KEEP:
            self.violations.append(Violation(invariant, now, what))
