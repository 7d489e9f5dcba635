"""Which rentals and providers there are on this machine, and which one a person means."""

import hashlib
import os
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from swarm.clock import Clock
from swarm.errors import PodError, SwarmError, UsageError
from swarm.pods.ledger import Ledger, Rental
from swarm.pods.provider import Pods, Refused
from swarm.pods.reconciling import Account, Standing, reconcile
from swarm.pods.renting import Renting, Say

KEY_VARIABLES = ("RUNPOD_API_KEY", "RUNPOD_API_KEY_FILE")
AT_ONCE_S = 2.0  # the most that a study waits for the reconciler


def opened(provider: str, ledger: Ledger, clock: Clock, host: str | None = None) -> Pods:
    """Raises Refused where it cannot be used: no key, no such host."""
    match provider:
        case "fake":
            from swarm.pods.fake.serving import FakePods

            return FakePods.started(ledger.root / "fake", clock)
        case "runpod":
            from swarm.pods.runpod import RunpodPods

            return RunpodPods.from_environment(clock)
        case "host" if host is not None:
            from swarm.pods.host import HostPods

            return HostPods(host, clock)
        case _:
            raise Refused(f"there is no provider {provider!r}")


def leave(pods: Pods) -> None:
    """What a provider is told when nobody follows it any more: the fake ends, if no pod of it lives."""
    if pods.name == "fake":
        from swarm.pods.fake.serving import FakePods

        if isinstance(pods, FakePods):
            pods.rest()


def to_be_asked(ledger: Ledger) -> list[tuple[str, str | None]]:
    """(provider, host) of open rentals, and the one that takes money where there is a key. Nothing else is asked."""
    found = {(rental.intent.provider, rental.intent.host) for rental in ledger.open_rentals()}
    paid = {("runpod", None)} if any(os.environ.get(name) for name in KEY_VARIABLES) else set()
    return sorted(found | paid, key=str)


def accounts(ledger: Ledger, clock: Clock, say: Say) -> Iterator[Account | PodError]:
    """Whatever may cost money now, provider by provider; an error for one that does not answer."""
    for provider, host in to_be_asked(ledger):
        try:
            renting = Renting(opened(provider, ledger, clock, host), ledger, clock, say)
            yield from reconcile(renting, renting.pods.list())
        except PodError as error:
            yield error


def orphan(ledger: Ledger, clock: Clock, say: Say, name: str) -> tuple[Pods, Account] | None:
    """A pod of this name that nobody here waits for, and the provider that can end it."""
    for provider, host in to_be_asked(ledger):
        try:
            renting = Renting(opened(provider, ledger, clock, host), ledger, clock, say)
            found = reconcile(renting, renting.pods.list())
        except PodError as error:
            say(str(error))
            continue
        for account in found:
            if account.name == name and account.standing is Standing.ORPHAN:
                return renting.pods, account
    return None


def of_repository(ledger: Ledger, root: Path, provider: str) -> Rental | None:
    """The one that has not ended: a repository has one study at a time, so one pod at a time."""
    still = [one for one in ledger.open_rentals() if one.intent.root == str(root) and one.intent.provider == provider]
    return still[-1] if still else None


def repository_lock(root: Path) -> str:
    """Held by whoever rents for this repository, so that two commands at once rent one pod."""
    return f"repository-{hashlib.sha256(str(root).encode()).hexdigest()[:16]}"


def named(ledger: Ledger, name: str | None, root: Path | None) -> Rental:
    """By its name or the beginning of it; without one, the latest of the repository, or of all where `root` is None: an
    open one before all others."""
    rentals = ledger.rentals()
    if name is not None:
        found = [rental for rental in rentals.values() if rental.name.startswith(name)]
        if len(found) != 1:
            raise UsageError(f"{name!r} fits {len(found)} pods of this machine's ledger; swarm pod list shows them")
        return found[0]
    here = [rental for rental in rentals.values() if root is None or rental.intent.root == str(root)]
    still = [rental for rental in here if rental.ended is None] or here
    if not still:
        raise SwarmError("no pod was rented from here: swarm pod up rents one, swarm pod list shows all")
    return still[-1]


def costs_now(ledger: Ledger, clock: Clock, within_s: float = AT_ONCE_S) -> list[str]:
    """What a person must know before a study begins: one line for each pod that costs money and should not, in at most
    `within_s` seconds. Empty where all is well, and without a ledger or a key nothing is asked."""
    if not to_be_asked(ledger):
        return []
    said: list[str] = []
    found: queue.Queue[Account | PodError | None] = queue.Queue()

    def ask() -> None:
        for one in accounts(ledger, clock, said.append):
            found.put(one)
        found.put(None)

    threading.Thread(target=ask, daemon=True).start()
    ends_at = time.monotonic() + within_s
    lines = []
    try:
        while (one := found.get(timeout=max(0.0, ends_at - time.monotonic()))) is not None:
            if isinstance(one, PodError):
                lines.append(f"Could not ask what costs money now: {one}")
            elif one.needs_a_person:
                lines.append(one.line())
    except queue.Empty:
        lines.append(f"No answer in {within_s:g} s to what costs money now: swarm pod list asks again.")
    return said + lines
