"""What `swarm pod` prints: offers before a pod is rented, the study as it goes, where a rental stands, what costs."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime

import typer

from swarm.brain import Brain
from swarm.cli.render import EventLines
from swarm.clock import SystemClock
from swarm.errors import PodError, UsageError
from swarm.pods.caps import Choice
from swarm.pods.following import Follower
from swarm.pods.launching import Launch
from swarm.pods.ledger import Intent, Rental
from swarm.pods.provider import PodState
from swarm.pods.reconciling import Account
from swarm.pods.renting import Say


def ask(question: str, *, yes: bool) -> None:
    """Raises UsageError where nobody can be asked, typer.Abort at a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked here; --yes says yes")
    typer.confirm(question, abort=True)


def tell_offers(choice: Choice, intent: Intent, say: Say) -> None:
    for text in choice.passed_over:
        say(f"passed over: {text}")
    if not choice.offers:
        raise PodError(
            "no card can be had within the limits: name others with --gpu, or raise --max-price or --max-usd"
        )
    for offer in choice.offers:
        lifetime_h, most_usd = intent.caps.lifetime_s(offer.price_usd_h) / 3600, intent.caps.most_usd(offer.price_usd_h)
        say(
            f"{offer.card}, {offer.cloud}: {offer.price_usd_h:g} USD/h, stock {offer.stock}: "
            f"up to {lifetime_h:.2f} h and {most_usd:.2f} USD"
        )
    if intent.provider == "fake":
        say("The provider is a fake: its prices are made up, and nothing is paid.")


class StudyLines:
    """The pod's study as plain lines, each told once, from the copy of its brain."""

    def __init__(self, launch: Launch, say: Say) -> None:
        self._launch, self._say = launch, say
        self._events: dict[str, EventLines] = {}
        self._size = 0

    def tell(self) -> None:
        mirror = self._launch.mirror
        size = mirror.stat().st_size if mirror.exists() else 0
        if size == self._size:
            return
        self._size = size
        for study in Brain(mirror, clock=SystemClock()).snapshot().studies.values():
            if study.study_id in self._launch.studies_before:
                continue
            for line in self._events.setdefault(study.study_id, EventLines()).fresh(study):
                self._say(line)


def tell_outcome(launch: Launch, follower: Follower, reason: str | None, *, as_json: bool) -> int:
    """1 for a rental that has ended and whose results are not known to be home."""
    rental = launch.renting.ledger.rentals()[launch.rental.name]
    cost, home = rental.cost_usd(launch.renting.clock.now()), rental.collected_at is not None
    known = follower.pod.state if follower.pod is not None else "unknown"
    state = PodState.ENDED if rental.ended is not None else known
    if as_json:
        facts = {
            "schema_version": 1,
            "name": rental.name,
            "provider": rental.intent.provider,
            "pod_id": rental.pod_id,
            "state": state,
            "phase": follower.phase,
            "price_usd_h": rental.price_usd_h,
            "cost_usd": cost,
            "deadline_at": rental.deadline_at,
            "records": follower.records,
            "refs": follower.refs,
            "all_home": home,
            "why": rental.ended.why if rental.ended is not None else reason,
            "folder": str(launch.folder),
        }
        print(json.dumps(facts))
    else:
        print("\n".join(_outcome_lines(launch, rental, follower, state, reason, cost, home)))
    return 1 if rental.ended is not None and not home else 0


def _outcome_lines(
    launch: Launch, rental: Rental, follower: Follower, state: str, reason: str | None, cost: float, home: bool
) -> list[str]:
    why = rental.ended.why if rental.ended is not None else reason
    phase = f", {follower.phase.replace('_', ' ')}" if follower.phase is not None else ""
    whole = "all that there was" if home else "not known to be all"
    lines = [
        f"{rental.name} {state}{phase}{f': {why}' if why else ''}",
        f"Cost: {cost:.4f} USD at most, {rental.price_usd_h:g} USD/h. Deadline: {moment(rental.deadline_at)}.",
        f"Home: {follower.records} new records, {follower.refs} new trial refs, {whole}. Files: {launch.folder}",
    ]
    if rental.ended is not None and home:
        lines += ["Next: swarm status, swarm report, swarm diff TRIAL, swarm adopt TRIAL."]
    return lines


def tell_accounts(accounts: Sequence[Account], silent: Sequence[str], ended: Sequence[Rental], *, as_json: bool) -> int:
    """1 when something needs a person."""
    if as_json:
        shown = [
            {
                "name": one.name,
                "standing": one.standing,
                "cost_usd": one.cost_usd,
                "pod": one.pod.model_dump(mode="json") if one.pod is not None else None,
            }
            for one in accounts
        ]
        print(json.dumps({"schema_version": 1, "pods": shown, "silent": list(silent)}))
    else:
        for text in [*(one.line() for one in accounts), *silent]:
            print(text)
        if not accounts and not silent:
            print("No pod costs money now.")
        if ended:
            total = sum(rental.cost_usd(0.0) for rental in ended)
            print(f"Ended so far: {len(ended)}, {total:.4f} USD at most by this machine's ledger.")
    return 1 if silent or any(one.needs_a_person for one in accounts) else 0


def moment(at: float | None) -> str:
    return "unknown" if at is None else f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M:%S}"


def to_stderr(text: str) -> None:
    print(text, file=sys.stderr)
