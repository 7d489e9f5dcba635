"""Ends the pod, whatever becomes of the study: the guard that needs neither the renter nor the study to be alive.

    python -m swarm.pods.inside.watchdog

Started before anything else in a pod, in a session of its own. It never waits for anybody: what takes time is a chore
with a limit, and at the end of the pod's time it leaves whatever is still open.
"""

import contextlib
import fcntl
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from swarm.errors import Escaped, contained
from swarm.pods.inside.chores import Chore, Chores, PodChores
from swarm.pods.inside.ending import Ending
from swarm.pods.inside.home import Home, number, read_json, text, write_json
from swarm.pods.inside.life import Clock, Life, PodClock, boot_id
from swarm.pods.inside.oom import shield
from swarm.pods.inside.processes import alive, written_down
from swarm.pods.inside.research import Research
from swarm.pods.inside.rules import Facts, Gains, reason_to_end
from swarm.pods.inside.told import Order, home_of, order_here
from swarm.sandbox.libc import PR_SET_DUMPABLE, prctl

TICK_S = 1.0
STATE_EVERY_S = 10.0
PUSH_LIMIT_S = 60.0


class Watchdog:
    """`step` looks once; `done` when there is nothing left to watch."""

    def __init__(self, home: Home, order: Order, clock: Clock, chores: Chores, boot: str) -> None:
        self.done = False
        self._home, self._order, self._clock, self._chores = home, order, clock, chores
        self._life = Life.resumed(home, order, clock, boot)
        self._research = Research(home.brain, int(number(read_json(home.entry), "brain_bytes") or 0))
        self._gains = Gains(min(order.max_usd, order.usd(order.lifetime_s)))
        self._phase = ""
        self._phase_at = self._news_at = clock.monotonic()
        self._push: Chore | None = None
        self._pushed_at = clock.monotonic()
        self._shown_at = float("-inf")
        self._ending: Ending | None = None
        if (why := text(read_json(home.ending), "why")) is not None:
            self._ending = self._begun(why, text(read_json(home.ending), "stage"))

    def step(self) -> None:
        self._life.tick(self._home, self._clock)
        entry = read_json(self._home.entry)
        self._notice(entry)
        if self._ending is None and (why := reason_to_end(self._order, self._facts(entry))) is not None:
            self._home.say("watchdog", f"the pod ends: {why}")
            self._ending = self._begun(why, None)
        if self._ending is None:
            self._push_now_and_then()
        else:
            self._end_push()
            self._ending.step(self._left_s, study_alive=alive(entry, "up"))
            self.done = self._ending.over
        self._show(entry)

    @property
    def _left_s(self) -> float:
        return self._life.left_s(self._order, self._clock)

    def _begun(self, why: str, stage: str | None) -> Ending:
        return Ending(self._home, self._order, self._clock, self._chores, why, stage)

    def _notice(self, entry: dict[str, object]) -> None:
        """What has changed since the last look."""
        now = self._clock.monotonic()
        phase = text(entry, "phase") or "waiting"
        if phase != self._phase:
            self._phase, self._phase_at, self._news_at = phase, now, now
            self._shown_at = float("-inf")
        if self._research.look():
            self._news_at = now
        self._gains.note(self._usd, self._research.incumbent_cost)

    @property
    def _usd(self) -> float:
        return self._order.usd(self._life.spent_s)

    def _facts(self, entry: dict[str, object]) -> Facts:
        now = self._clock.monotonic()
        return Facts(
            spent_s=self._life.spent_s,
            left_s=self._left_s,
            phase=self._phase,
            phase_s=now - self._phase_at,
            quiet_s=now - self._news_at,
            trial_runs=self._research.trial_runs,
            alive=alive(entry, "up"),
            down=self._home.down.exists(),
            gain_per_usd=self._gains.per_usd(self._usd),
        )

    def _push_now_and_then(self) -> None:
        if self._order.sync.kind != "git" or self._phase != "running":
            return
        if self._push is not None and self._push.poll() is None:
            return
        if self._clock.monotonic() - self._pushed_at >= self._order.sync_every_s:
            self._pushed_at = self._clock.monotonic()
            self._push = self._chores.push(PUSH_LIMIT_S)

    def _end_push(self) -> None:
        if self._push is not None and self._push.poll() is None:
            self._push.kill()
        self._push = None

    def _show(self, entry: dict[str, object]) -> None:
        """`state.json`, for the renter."""
        ending, now = self._ending, self._clock.monotonic()
        if now - self._shown_at < STATE_EVERY_S and not (ending is not None and ending.take_changed()):
            return
        self._shown_at = now
        code = entry.get("exit_code")
        failed = (isinstance(code, int) and code not in (0, 130)) or text(entry, "failed") is not None
        phase = {"waiting": "waiting", "setting_up": "setting_up", "running": "running"}.get(self._phase, "ending")
        if ending is not None:
            phase = ("failed" if failed else "done") if ending.results_lie_ready else "ending"
        why = " ".join(part for part in (ending.why if ending is not None else "", text(entry, "failed")) if part)
        fields: dict[str, object] = {"phase": phase, "at": self._clock.now(), "why": why, "exit_code": code}
        fields |= {"study_id": self._research.latest, "ends_at": self._clock.now() + self._left_s}
        fields |= {"last_line": last_line(self._home.log("study")), "usd": round(self._usd, 4)}
        write_json(self._home.state, fields)


def last_line(path: Path) -> str:
    """Of a log, at most 300 characters; empty where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    with os.fdopen(fd, "rb") as file:
        file.seek(max(0, os.fstat(fd).st_size - 4096))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def watch(watchdog: Watchdog, home: Home, clock: Clock) -> None:
    """To the end. A step that fails is told and the next one follows: nothing that goes wrong here may cost money."""
    while not watchdog.done:
        if isinstance(escaped := contained(watchdog.step), Escaped):
            home.say("watchdog", f"a step failed: {escaped.text}")
        clock.sleep(TICK_S)


def main(_: Sequence[str] = ()) -> int:
    home, clock = Home(home_of(os.environ)), PodClock()
    home.make()
    order = order_here()
    with contextlib.suppress(OSError):
        prctl(PR_SET_DUMPABLE, 0)  # it holds the key of the pod: closed to the programs that run here
    with (home.root / "watchdog.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return 0  # there is one
        if (unshielded := shield()) is not None:
            home.say("watchdog", unshielded)
        watchdog = Watchdog(home, order, clock, PodChores(home, order, clock, dict(os.environ)), boot_id())
        write_json(home.root / "watchdog.json", written_down("pid", os.getpid()))
        watch(watchdog, home, clock)
    return 0


if __name__ == "__main__":
    sys.exit(main())
