"""Stay with a pod until nothing of it costs any more: bring its files, bring its results home, see to its end.

Each turn reads the provider's list, and whatever is missing is done then; a turn that fails is followed by the next. So
it does not matter when this process ends or begins. What ends a pod: its own watchdog; this, once all is home or its
deadline is past; a person.
"""

from dataclasses import dataclass, field

from swarm.errors import PodError, RepoError
from swarm.failpoints import failpoint
from swarm.pods.caps import RESULTS_S, dearest
from swarm.pods.ledger import EntryKind, Rental
from swarm.pods.means import Brought, Means
from swarm.pods.notes import put_text, report_of
from swarm.pods.order import BUNDLE, COLLECTED, Collected, PodPhase, PodReport
from swarm.pods.provider import NoCapacity, Pod, PodState, Refused, Unreachable
from swarm.pods.reach import OutOfReach, Reach
from swarm.pods.renting import Renting, end, extras, give_back, unlisted

LEAVES_BY_ITSELF_S = 45.0  # after all is home: time for the pod to end itself before we do
ENDS_AFTER_DEADLINE_S = 60.0  # its own watchdog comes first; half of the grace is left for our request
NEVER_STARTED_S = 1200.0  # a pod that is still starting so long after it was made
REFUSED_REST_S = 60.0  # until a provider that has refused is asked again: a key may be mended meanwhile


@dataclass
class Follower:
    """One rental, followed. `turn()` until it gives a reason. `refused`: what the provider said to the last one, if it
    would not answer."""

    renting: Renting
    rental: Rental
    means: Means
    pod: Pod | None = None
    phase: PodPhase | None = None
    records: int = 0
    refs: int = 0
    collected: bool = False  # at the last turn
    refused: Refused | None = None
    _rests_until: float = float("-inf")
    _listed: bool = False  # at the last turn
    _made_at: float = 0.0
    _done_at: float | None = None
    _all_home: bool = False
    _started_again: bool = False
    _delivered: bool = False
    _results_until: float | None = None
    _seen: bool = False  # in the provider's list
    _reached_at: float | None = None
    _told: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._made_at = self.renting.clock.monotonic()

    @property
    def open(self) -> bool:
        """Whether the rental has not been booked as ended."""
        return self.renting.ledger.rentals()[self.rental.name].ended is None

    def look(self) -> None:
        """Where it stands now, without bringing anything home. Raises Unreachable."""
        self.pod = self.renting.pods.get(self.rental.pod_id) if self.rental.pod_id else None
        reach = self.means.reach(self.pod) if self.pod is not None else None
        try:
            report = report_of(reach) if reach is not None else None
        except OutOfReach:
            report = None
        self.phase = report.phase if report is not None else None

    def finish(self, why: str) -> str:
        """Ends it now, with what is home."""
        return self._terminated(why) if self.pod is not None else self._ended(why)

    def turn(self) -> str | None:
        """Does what is to be done now. Gives why nothing is left to do; None while something is, or nobody answered."""
        self.refused, self._listed = None, False
        if self.renting.clock.monotonic() >= self._rests_until:
            try:
                return self._turn()
            except Unreachable as error:
                self._say(f"No answer from {self.renting.pods.name}, going on: {error}")
            except Refused as error:
                self.refused, self._rests_until = error, self.renting.clock.monotonic() + REFUSED_REST_S
                self._say(f"{error} Going on; {self.renting.pods.name} is asked again every {REFUSED_REST_S:g} s.")
        if not self._listed:
            self._without_a_list()
        return None

    def _without_a_list(self) -> None:
        """What needs none: results come home from where the pod was last, and past its deadline it is given back all
        the same. Its end is booked when a list says so."""
        if self.pod is not None and self.pod.state is PodState.RUNNING:
            self._collect()
        if self._is_past_deadline(self._now):
            give_back(self.renting, self.rental, self._say, keep_disk=not (self._all_home or self.collected))

    def _turn(self) -> str | None:
        if self.rental.pod_id is None:
            return self._ended("no pod was made")
        now = self.renting.clock.now()
        listed = self.renting.pods.list()
        self._listed = True
        for extra in extras(listed, self.rental):
            self._say(f"A second pod of this name ({extra.id}), of a request whose reply was lost: ended.")
            self.renting.pods.terminate(extra.id)
        own = next((pod for pod in listed if pod.id == self.rental.pod_id), None)
        self._seen |= own is not None
        self.pod = own or unlisted(self.renting, self.rental, seen=self._seen)
        if self.pod is None or self.pod.state is PodState.ENDED:
            self._collect_pushed()
            return self._ended("it ended itself" if self._all_home else "it is gone, and its end was not seen", now)
        self._collect()
        if self.pod.state is PodState.STOPPED:
            return self._stopped()
        return self._must_end(self._now)  # what was brought home may have taken long

    def _must_end(self, now: float) -> str | None:
        assert self.pod is not None
        if self._is_past_deadline(now):
            return self._terminated("its deadline is past") if self.collected else self._put_to_rest()
        if (self.pod.price_usd_h or 0.0) > dearest(self.rental.price_usd_h):
            return self._terminated(f"it costs {self.pod.price_usd_h:g} USD/h, more than it was offered for")
        if self._all_home and self._done_at is not None and self._since(self._done_at) > LEAVES_BY_ITSELF_S:
            return self._terminated("all is home, and it did not end itself")
        if self.pod.state is PodState.STARTING and self._since(self._made_at) > NEVER_STARTED_S:
            return self._terminated(f"it has not started in {NEVER_STARTED_S:g} s")
        if self.pod.state is PodState.FAILED and self._since(self._reached_at or self._made_at) > NEVER_STARTED_S:
            return self._put_to_rest(f"it has failed, and could not be reached in {NEVER_STARTED_S:g} s")
        if self.phase is None and self._since(self._made_at) > NEVER_STARTED_S:
            self._say(
                f"It runs and cannot be reached since {NEVER_STARTED_S:g} s; it ends at its deadline. Is a public key "
                "of yours with the provider, and is port 22 of the pod open to you?"
            )
        return None

    def _is_past_deadline(self, now: float) -> bool:
        deadline_at = self.rental.deadline_at
        past = deadline_at is not None and now > deadline_at + ENDS_AFTER_DEADLINE_S
        return past and not self._started_for_results()

    def _started_for_results(self) -> bool:
        """By a person, past its deadline, for what is on its disk."""
        return self._results_until is not None and self.renting.clock.monotonic() < self._results_until

    def _put_to_rest(self, why: str = "its deadline is past, and it could not be reached") -> str | None:
        """Its card is given back, its disk with whatever is on it stays. One that cannot be stopped is ended: what lies
        on it is worth less than a card that is paid for ever."""
        assert self.pod is not None
        try:
            self.renting.pods.stop(self.pod.id)
        except Refused as refused:
            self._say(f"It cannot be stopped, so it is ended: {refused}")
            return self._terminated(f"{why}, nor be stopped")
        there = self.renting.pods.get(self.pod.id)
        if there is not None and there.state.costs:
            self._say("It was asked to stop and goes on: asking again.")
            last = self.rental.overdue(self._now) or there.state is PodState.FAILED
            return self._terminated(f"{why}, and it did not stop") if last else None
        return f"{why}: stopped. {self._on_its_disk()}"

    @property
    def _now(self) -> float:
        return self.renting.clock.now()

    def _on_its_disk(self) -> str:
        return f"What is not home lies on its disk: swarm pod sync {self.rental.name} starts it for a few minutes"

    def start_for_results(self) -> None:
        """Starts a stopped pod for RESULTS_S at most, also past its deadline. Raises NoCapacity."""
        assert self.pod is not None
        self.renting.note(self.rental.name, EntryKind.STARTED)
        self._results_until = self.renting.clock.monotonic() + RESULTS_S
        self.renting.pods.start(self.pod.id)

    def _collect(self) -> None:
        """Once: deliver, bring home, acknowledge. What cannot be reached now is reached at the next turn."""
        assert self.pod is not None
        self.collected = False
        try:
            reach = self.means.reach(self.pod)
            if reach is None:
                return
            self._deliver(reach)
            before = report_of(reach)
            if before is None:
                return
            self._reached_at = self.renting.clock.monotonic()
            self._show(before)
            if before.phase in (PodPhase.WAITING, PodPhase.SETTING_UP):
                return
            failpoint("follow.before_collect")
            brought = self.means.collect(reach)
            failpoint("follow.after_collect")
            self._count(brought)
            done = before.phase in (PodPhase.DONE, PodPhase.FAILED)
            self._acknowledge(reach, brought, done)
            self.collected = True
        except OutOfReach as error:
            self._say(f"Not in reach yet: {error}")
        except (PodError, RepoError, OSError) as error:  # a full disk here too
            self._say(f"Could not bring everything home, trying again: {error}")

    def _collect_pushed(self) -> None:
        """Of a pod that is gone: what it has pushed, with its last words."""
        if self.means.pushed is None or self._all_home:
            return
        try:
            brought = self.means.pushed()
        except (PodError, RepoError) as error:
            self._say(f"Could not fetch what it has pushed: {error}")
            return
        self._count(brought)
        if brought.report:
            self._is_home()

    def _count(self, brought: Brought) -> None:
        self.records += brought.records
        self.refs += brought.refs
        if brought.refused:
            self._say(brought.refused)

    def _is_home(self) -> None:
        self._all_home, self._done_at = True, self.renting.clock.monotonic()
        self.renting.note(self.rental.name, EntryKind.COLLECTED)
        self._say("All is home.")

    def _deliver(self, reach: Reach) -> None:
        if self.means.bundle is None or self._delivered:
            return
        if not reach.read(BUNDLE, 0, 1):
            failpoint("follow.before_files")
            reach.put(self.means.bundle, BUNDLE)
            failpoint("follow.after_files")
            self._say("The study's files are there.")
        self._delivered = True

    def _show(self, report: PodReport) -> None:
        if report.phase is not self.phase:
            why = f": {report.why}" if report.why else ""
            self.renting.say(f"{self.rental.name} is {report.phase.replace('_', ' ')}{why}")
        self.phase = report.phase

    def _acknowledge(self, reach: Reach, brought: Brought, done: bool) -> None:
        note = Collected(brain_bytes=brought.brain_bytes, at=self.renting.clock.now(), report=brought.report)
        put_text(reach, COLLECTED, note.model_dump_json())
        if done and not self._all_home:
            self._is_home()

    def _stopped(self) -> str | None:
        """It costs no card any more. With its results home its disk goes too; without them it is started again once,
        since only a running pod can be reached."""
        assert self.pod is not None
        if self._all_home or self.rental.collected_at is not None:
            return self._terminated("all is home")
        if self.renting.ledger.rentals()[self.rental.name].stopped:
            return f"a person stopped it. {self._on_its_disk()}, swarm pod up goes on with it"
        deadline_at = self.rental.deadline_at
        late = deadline_at is not None and self.renting.clock.now() > deadline_at
        if self._started_again or late:
            return f"it is stopped. {self._on_its_disk()}"
        self._started_again = True
        self._say("It stopped before all was home: starting it again.")
        self.renting.note(self.rental.name, EntryKind.STARTED)
        try:
            self.renting.pods.start(self.pod.id)
        except NoCapacity as error:
            self._say(str(error))
        return None

    def _terminated(self, why: str) -> str:
        assert self.pod is not None
        failpoint("follow.before_end")
        self.renting.pods.terminate(self.pod.id)
        failpoint("follow.after_end")
        return self._ended(why)

    def _ended(self, why: str, at: float | None = None) -> str:
        rental = self.renting.ledger.rentals()[self.rental.name]
        if rental.ended is None:
            end(self.renting, rental.name, why, rental.bounded_usd(self._now if at is None else at))
        return why

    def _since(self, moment: float) -> float:
        return self.renting.clock.monotonic() - moment

    def _say(self, text: str) -> None:
        """Each text once: a turn comes every few seconds."""
        if text not in self._told:
            self._told.add(text)
            self.renting.say(text)
