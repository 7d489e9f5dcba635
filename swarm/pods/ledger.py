"""The ledger of money: what was asked for, what came of it and what it cost, on this machine, over all repositories.

One JSON object a line, written and synced *before* the request that it speaks of. A process that dies at any line
leaves enough for the next one to know whether a pod may exist. No line holds a secret: an order has only references.

Costs are by this machine's clock, from the first request that may have made the pod until it was seen to be gone; they
are an upper bound of the card's price, without disks. The provider's invoice is the truth.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from swarm.errors import PodError
from swarm.failpoints import failpoint
from swarm.pods.caps import GRACE_S, RESULTS_S, Caps
from swarm.pods.provider import Cloud

LEDGER_VARIABLE = "SWARM_PODS_DIR"
LOCK_TIMEOUT_S = 20.0


class EntryKind(StrEnum):
    INTENT = "intent"  # somebody wants a pod; nothing was asked for yet
    ASKED = "asked"  # a request goes out now
    NOT_MADE = "not_made"  # that request surely made nothing
    MADE = "made"
    STOPPED = "stopped"  # by a person, who may start it again
    STARTED = "started"  # again, after it had stopped
    COLLECTED = "collected"  # all that there was came home
    ENDED = "ended"  # nothing of it is left, or there never was anything


class Intent(BaseModel):
    """All that is needed to go on with it from another process."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    provider: str
    root: str
    cards: tuple[str, ...] = ()
    cloud: Cloud | None = None
    image: str = ""
    volume: str | None = None
    hours: float
    max_usd: float
    max_price_usd_h: float | None = None
    secrets: dict[str, str] = {}
    up: tuple[str, ...] = ()
    commit: str
    repository: str | None = None
    sync_url: str | None = None
    idle_s: float = 1800
    min_gain_per_usd: float | None = None
    host: str | None = None

    @property
    def caps(self) -> Caps:
        return Caps(self.hours, self.max_usd, self.max_price_usd_h)


class Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    at: float
    name: str
    kind: EntryKind
    intent: Intent | None = None
    card: str | None = None
    cloud: Cloud | None = None
    price_usd_h: float | None = None
    deadline_at: float | None = None
    pod_id: str | None = None
    cost_usd: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Rental:
    """What the lines of one name add up to."""

    name: str
    intent: Intent
    opened_at: float
    asked: Entry | None = None
    may_exist: bool = False  # asked, and neither made nor surely not
    first_asked_at: float | None = None  # of those that may have made it
    pod_id: str | None = None
    started_at: tuple[float, ...] = ()  # again
    stopped: bool = False  # by a person
    collected_at: float | None = None
    ended: Entry | None = None
    lines: tuple[Entry, ...] = field(default=(), repr=False)

    @property
    def deadline_at(self) -> float | None:
        return self.asked.deadline_at if self.asked is not None else None

    @property
    def price_usd_h(self) -> float:
        return (self.asked.price_usd_h or 0.0) if self.asked is not None else 0.0

    def cost_usd(self, until: float) -> float:
        """Upper bound of the card's price until then; what was booked, when it has ended."""
        if self.ended is not None and self.ended.cost_usd is not None:
            return self.ended.cost_usd
        if self.first_asked_at is None or not (self.may_exist or self.pod_id):
            return 0.0
        return max(0.0, until - self.first_asked_at) / 3600 * self.price_usd_h

    def bounded_usd(self, until: float) -> float:
        """As `cost_usd`, of a pod that is gone: it was not paid past its deadline and its grace, but for what it ran
        when it was started again after that."""
        if self.deadline_at is None:
            return self.cost_usd(until)
        ended_at = self.deadline_at + GRACE_S
        again = [at for at in self.started_at if at > ended_at]
        more_s = sum(max(0.0, until - at) for at in again[-1:]) + sum(RESULTS_S for _ in again[:-1])
        return self.cost_usd(min(until, ended_at)) + more_s / 3600 * self.price_usd_h

    def overdue(self, now: float) -> bool:
        return self.ended is None and self.deadline_at is not None and now > self.deadline_at + GRACE_S


def default_ledger() -> Path:
    """`SWARM_PODS_DIR`, or ~/.local/state/swarm/pods: not in a cache, which people empty."""
    given = os.environ.get(LEDGER_VARIABLE)
    return Path(given) if given else Path.home() / ".local" / "state" / "swarm" / "pods"


class Ledger:
    """Every process of this user may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "ledger.jsonl"

    @property
    def exists(self) -> bool:
        return self.path.exists()

    def folder(self, name: str) -> Path:
        """Where a rental's own files lie: its bundle, the copy of its brain, its report."""
        folder = self.root / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def append(self, entry: Entry) -> None:
        """On the disk when it returns. Raises PodError where that cannot be: then nothing may be rented."""
        line = entry.model_dump_json(exclude_none=True).encode() + b"\n"
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._lock("ledger"):
                failpoint("pods.before_line")
                descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    size = os.fstat(descriptor).st_size
                    torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                    line = b"\n" + line if torn else line
                    if os.write(descriptor, line) != len(line):
                        raise OSError("the disk took half a line")
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                failpoint("pods.after_line")
        except OSError as error:
            raise PodError(
                f"the ledger {self.path} cannot be written ({error}), so nothing is rented: make room, "
                f"or set {LEDGER_VARIABLE} to a folder of your own"
            ) from error

    def rentals(self) -> dict[str, Rental]:
        """By name, in the order in which they were begun."""
        found: dict[str, Rental] = {}
        for entry in self._entries():
            rental = found.get(entry.name)
            if rental is None:
                if entry.intent is None:
                    continue
                rental = Rental(entry.name, entry.intent, entry.at)
            found[entry.name] = _folded(rental, entry)
        return found

    def open_rentals(self) -> list[Rental]:
        return [rental for rental in self.rentals().values() if rental.ended is None]

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Nobody else rents for this name meanwhile. Raises PodError naming the lock when somebody does."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock(name, timeout_s=0.5):
            yield

    @contextlib.contextmanager
    def _lock(self, name: str, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
        path = self.root / f"{name}.lock"
        try:
            with FileLock(path, timeout=timeout_s, fallback_to_soft=False, preserve_lock_file=True):
                yield
        except Timeout as error:
            raise PodError(f"{path} is held by another swarm process: wait for it, or end it") from error

    def _entries(self) -> Iterator[Entry]:
        """A line that cannot be read is skipped: a torn one was never acknowledged."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        for line in data.splitlines():
            with contextlib.suppress(ValidationError):
                yield Entry.model_validate_json(line)


def _folded(rental: Rental, entry: Entry) -> Rental:
    rental = replace(rental, lines=(*rental.lines, entry))
    match entry.kind:
        case EntryKind.ASKED:
            first = rental.first_asked_at if rental.first_asked_at is not None else entry.at
            rental = replace(rental, asked=entry, may_exist=True, first_asked_at=first)
        case EntryKind.NOT_MADE:
            rental = replace(rental, may_exist=False, first_asked_at=None)
        case EntryKind.MADE:
            rental = replace(rental, may_exist=False, pod_id=entry.pod_id)
        case EntryKind.STARTED:
            rental = replace(rental, started_at=(*rental.started_at, entry.at), stopped=False)
        case EntryKind.STOPPED:
            rental = replace(rental, stopped=True)
        case EntryKind.COLLECTED:
            rental = replace(rental, collected_at=entry.at)
        case EntryKind.ENDED:
            rental = replace(rental, may_exist=False, ended=entry)
        case EntryKind.INTENT:
            pass
    return rental
