"""The end of a pod, stage by stage: drain, stop, report, deliver, leave.

Each stage has a limit, and the end of the pod's time cuts all of them short: at that moment it leaves, whatever has
come home. A provider that does not answer is asked again for a minute; then everything in the pod is killed, and at the
latest 100 s after the pod's time nothing of it runs. Where it stands is written down first, so that a watchdog that is
started again goes on there.

A pod that was stopped with results that nobody had fetched may be started again by the renter: it then runs no study,
waits `collect_wait_s` for them to be fetched, and leaves again.
"""

from swarm.pods.inside.chores import Chore, Chores
from swarm.pods.inside.home import Home, number, read_json, write_json
from swarm.pods.inside.leave import NOT_RENTED
from swarm.pods.inside.life import Clock
from swarm.pods.inside.rules import closing_s, last_words_s
from swarm.pods.inside.told import Order

STAGES = ("drain", "stop", "report", "deliver", "leave", "closing", "over")
STOP_LIMIT_S = 15.0  # `swarm stop --now` is done within ten
REPORT_LIMIT_S = 60.0
PUSH_LIMIT_S = 60.0
PUSH_TRIES_S = 180.0
LEAVE_LIMIT_S = 12.0
KILL_ALL_AFTER_S = 60.0
GIVE_UP_AFTER_S = 100.0
KEEP_TRIES = 3  # then the card is given back with its disk
PAUSES_S = (2.0, 4.0, 8.0)
CLOSING_LIMIT_S = 3.0


class Ending:
    """`step` is called once a second until `over`."""

    def __init__(self, home: Home, order: Order, clock: Clock, chores: Chores, why: str, stage: str | None) -> None:
        """`stage` is where an earlier watchdog was; None begins it."""
        self.why = why
        self.stage = ""
        self._home, self._order, self._clock, self._chores = home, order, clock, chores
        self._chore: Chore | None = None
        self._began = self._not_before = clock.monotonic()
        self._tries, self._killed, self._changed = 0, False, True
        self._left = read_json(home.ending).get("left") is True or home.left.exists()  # the provider has said yes
        self._delivered = read_json(home.ending).get("delivered") is True
        first = stage if stage in STAGES else STAGES[0]
        asked = STAGES.index(first) >= STAGES.index("leave")  # it may not have lived to write down the rest
        self._again = asked and self._left and not self._delivered and order.sync.kind == "pull"
        if self._again:
            first, self._left = "deliver", False
            home.left.unlink(missing_ok=True)
        elif first == "over" and not self._left:
            first = "leave"
        self._enter(first)

    @property
    def over(self) -> bool:
        return self.stage == "over"

    @property
    def results_lie_ready(self) -> bool:
        """Nothing of the study is written any more."""
        return STAGES.index(self.stage) >= STAGES.index("deliver")

    def take_changed(self) -> bool:
        """Whether the stage is another one than at the last call."""
        changed, self._changed = self._changed, False
        return changed

    def step(self, left_s: float, *, study_alive: bool) -> None:
        """`left_s` until the pod has to be gone."""
        if left_s <= 0 and not self._again and STAGES.index(self.stage) < STAGES.index("leave"):
            self._enter("leave")
        match self.stage:
            case "drain":
                self._drain(left_s, study_alive=study_alive)
            case "stop":
                self._stop(study_alive=study_alive)
            case "report":
                self._report()
            case "deliver":
                self._deliver()
            case "leave":
                self._leave()
            case "closing" if self._stage_s >= CLOSING_LIMIT_S:
                self._chores.kill_all()
                self._enter("over")

    def _drain(self, left_s: float, *, study_alive: bool) -> None:
        """Running trials may finish, none starts."""
        asked_for = self._home.down.exists()
        if not study_alive or asked_for or left_s <= last_words_s(self._order) or self._is_done():
            return self._enter("stop")
        if self._chore is None:
            limit_s = max(1.0, min(closing_s(self._order), left_s - last_words_s(self._order)))
            self._chore = self._chores.stop(limit_s, now=False)

    def _stop(self, *, study_alive: bool) -> None:
        if study_alive and self._chore is None:
            self._chore = self._chores.stop(STOP_LIMIT_S, now=True)
        if not study_alive or self._is_done() or self._stage_s >= STOP_LIMIT_S:
            self._chores.kill_study()
            self._enter("report")

    def _report(self) -> None:
        if not self._home.brain.exists() or self._is_done():
            return self._enter("deliver")
        if self._chore is None:
            self._chore = self._chores.report(REPORT_LIMIT_S)

    def _deliver(self) -> None:
        """To the remote; or until the renter has fetched it all, or has had the time for it."""
        if not self._home.brain.exists():
            return self._enter("leave")
        if self._order.sync.kind == "git":
            return self._deliver_by_push()
        self._delivered = self._is_collected()
        if self._delivered or self._stage_s >= self._order.collect_wait_s:
            self._enter("leave")

    def _deliver_by_push(self) -> None:
        if self._chore is None:
            if self._clock.monotonic() >= self._not_before:
                self._chore = self._chores.push(PUSH_LIMIT_S)
            return
        if (code := self._chore.poll()) is None:
            return
        self._delivered = code == 0
        if self._delivered or self._stage_s >= PUSH_TRIES_S:
            return self._enter("leave")
        self._try_again()

    def _is_collected(self) -> bool:
        fields = read_json(self._home.collected)
        return fields.get("report") is True and (number(fields, "brain_bytes") or 0) >= self._home.brain.stat().st_size

    def _leave(self) -> None:
        """Ask the provider until it says yes."""
        if self._stage_s >= GIVE_UP_AFTER_S:
            self._home.say("watchdog", "the provider never said yes: all that is left is to stop running")
            return self._enter("closing")
        if self._stage_s >= KILL_ALL_AFTER_S and not self._killed:
            self._killed = True
            self._chores.kill_all()
        if self._chore is None:
            if self._clock.monotonic() >= self._not_before:
                keep_disk = self._order.sync.kind == "pull" and not self._delivered and self._tries < KEEP_TRIES
                self._chore = self._chores.leave(LEAVE_LIMIT_S, keep_disk=keep_disk)
            return
        if (code := self._chore.poll()) is None:
            return
        self._left = code in (0, NOT_RENTED)
        if self._left:
            return self._enter("closing")
        self._try_again()

    def _try_again(self) -> None:
        pause_s = PAUSES_S[min(self._tries, len(PAUSES_S) - 1)]
        self._tries += 1
        self._chore, self._not_before = None, self._clock.monotonic() + pause_s

    def _enter(self, stage: str) -> None:
        if self._chore is not None and self._chore.poll() is None:
            self._chore.kill()
        self.stage, self._began, self._chore = stage, self._clock.monotonic(), None
        self._tries, self._not_before, self._killed, self._changed = 0, self._began, False, True
        fields: dict[str, object] = {"why": self.why, "stage": stage, "delivered": self._delivered, "left": self._left}
        write_json(self._home.ending, fields)
        self._home.say("watchdog", f"ending: {stage}")
        if stage == "leave":
            self._chores.kill_study()

    @property
    def _stage_s(self) -> float:
        return self._clock.monotonic() - self._began

    def _is_done(self) -> bool:
        return self._chore is not None and self._chore.poll() is not None
